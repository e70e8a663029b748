"""The settings of models that translate; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TextConfig, TrainConfig, TranslateConfig
from tenor.training.presets import Preset, changed

TRANSLATE = Preset(
    TextConfig(tokens="bpe", vocab=6000, max_tokens=100, keep="head"),
    TranslateConfig(cell="lstm", layers=1, hidden=512, embedding=256, embedding_dropout=0.2, dropout=0.4, piece_dropout=0.1),
    TrainConfig(epochs=20, batch_size=128, learning_rate=3e-3, schedule="one_cycle", label_smoothing=0.1, clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def translate_preset(**changes: Any) -> Preset:
    return changed(TRANSLATE, changes)
