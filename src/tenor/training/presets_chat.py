"""The settings of models that chat."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TextConfig, TrainConfig, TranslateConfig
from tenor.training.presets import Preset, changed

# Not tuned; few turns are soon learnt by heart, so the network is smaller than a translator. What was said last in a long prompt counts most, so its end is kept.
CHAT = Preset(
    TextConfig(tokens="bpe", vocab=4000, max_tokens=60, keep="tail"),
    TranslateConfig(cell="lstm", layers=1, hidden=256, embedding=256, embedding_dropout=0.2, dropout=0.4, piece_dropout=0.1),
    TrainConfig(epochs=12, batch_size=64, learning_rate=2e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def chat_preset(**changes: Any) -> Preset:
    return changed(CHAT, changes)
