"""The settings of models that transcribe; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SoundConfig, SplitConfig, TrainConfig, TranscribeConfig
from tenor.training.presets import Preset, changed

# From runs on spoken digits: takes 10 to 49 of 5 speakers train, takes 5 to 9 validate (docs/results.md).
TRANSCRIBE = Preset(
    # Joining from the first epoch, with stronger noise and holes: after 40 epochs 0.84 of the digits alone and 8 % of connected words wrong; alone at first: 0.93 and 5 % after 24.
    SoundConfig(),
    # 128 units and dropouts were not tuned; 0.2 had 0.93 after 24 epochs, 0.1 0.97 after 60.
    TranscribeConfig(cell="lstm", layers=2, hidden=128, dropout=0.1),
    # A batch is 16 recordings, joined or not. More epochs were still better: connected words wrong 5.0 % after 24, 3.8 % after 60.
    TrainConfig(epochs=60, batch_size=16, learning_rate=4e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def transcribe_preset(**changes: Any) -> Preset:
    return changed(TRANSCRIBE, changes)
