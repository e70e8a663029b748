"""The settings of models that tag; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TagConfig, TextConfig, TrainConfig
from tenor.training.presets import Preset, changed

TAG = Preset(
    TextConfig(tokens="word", vocab=30_000),
    TagConfig(cell="lstm", layers=1, hidden=128, embedding=100, embedding_dropout=0.3, dropout=0.5),
    TrainConfig(epochs=12, batch_size=16, learning_rate=4e-3, schedule="one_cycle", clip=1.0),
    SplitConfig(how="official"),
)


def tag_preset(**changes: Any) -> Preset:
    return changed(TAG, changes)
