"""The settings of models that transcribe; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SoundConfig, SplitConfig, TrainConfig, TranscribeConfig
from tenor.training.presets import Preset, changed

# From short runs on spoken digits (takes 10 to 49 of 5 speakers; takes 5 to 9 for validation, docs/results.md).
TRANSCRIBE = Preset(
    SoundConfig(),
    TranscribeConfig(cell="lstm", layers=2, hidden=128, dropout=0.1),
    TrainConfig(epochs=36, batch_size=16, learning_rate=4e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def transcribe_preset(**changes: Any) -> Preset:
    return changed(TRANSCRIBE, changes)
