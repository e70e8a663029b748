"""The settings of models that generate; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import ModelConfig, SplitConfig, TextConfig, TrainConfig
from tenor.training.presets import Preset, changed

GENERATE = Preset(
    TextConfig(tokens="char", vocab=1000, max_tokens=128),
    ModelConfig(cell="lstm", layers=2, hidden=512, embedding=128, bidirectional=False, dropout=0.5),
    TrainConfig(epochs=40, batch_size=64, learning_rate=2e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="range", validation=0.1),
)


def generate_preset(**changes: Any) -> Preset:
    return changed(GENERATE, changes)
