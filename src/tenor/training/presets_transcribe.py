"""The settings of models that transcribe; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SoundConfig, SplitConfig, TrainConfig, TranscribeConfig
from tenor.training.presets import Preset, changed

TRANSCRIBE = Preset(
    SoundConfig(),
    TranscribeConfig(cell="lstm", layers=2, hidden=128, dropout=0.2),
    TrainConfig(epochs=60, batch_size=16, learning_rate=2e-3, schedule="one_cycle", clip=5.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def transcribe_preset(**changes: Any) -> Preset:
    return changed(TRANSCRIBE, changes)
