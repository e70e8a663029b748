"""The settings of models that transcribe; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SoundConfig, SplitConfig, TrainConfig, TranscribeConfig
from tenor.training.presets import Preset, changed

# From runs on spoken digits: takes 10 to 49 train, takes 5 to 9 validate; of speakers left out (george and yweweler, with three to learn from) takes 5 to 49 (docs/results.md); all while tempo was changed by a filter that took too much away, and heard once.
TRANSCRIBE = Preset(
    # Joining from the first epoch, with stronger noise and holes: after 40 epochs 0.84 of the digits alone and 8 % of connected words wrong; alone at first: 0.93 and 5 % after 24.
    # Tempo, filters, a wider warp, more noise, fewer bands and a higher floor were no sure gain for new speakers (docs/results.md).
    # 14 terms over the bands: without pitch, 0.85 of the digits of a speaker never heard where all 40 bands have 0.79 (mean of five trainings).
    SoundConfig(),
    # Dropout 0.3 and 64 units, like 0.1 and 128, heard 0.66 to 0.70 of the digits of new speakers; 64 units in half the time had 5.9 % of connected words wrong, 128 5.5 %.
    TranscribeConfig(cell="lstm", layers=2, hidden=128, dropout=0.1),
    # A batch is 16 recordings, joined or not; 8 were no gain (8.5 % against about 6.5 % after 30 epochs). More epochs were better as far as they went: 5.0 % after 24, 3.8 % after 60.
    TrainConfig(epochs=60, batch_size=16, learning_rate=4e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def transcribe_preset(**changes: Any) -> Preset:
    return changed(TRANSCRIBE, changes)
