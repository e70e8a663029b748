"""A sound as it is, and as other voices and tempos would say it: a network hears all of them (test-time augmentation)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tenor.config import SoundConfig
from tenor.data.frames import features, steps_of
from tenor.data.joined import TEMPOS, WARPS, spreads
from tenor.data.sound import changed_rate

SHARE = 0.75  # of what the training changes, about, so that the network has heard the like
LONGEST = 60  # seconds: every view judges what is proposed, which takes time with the square of a sound's length (of a minute, in letters, 5 s)


class View(NamedTuple):
    """tempo: in TEMPOS-ths of the sound's own, the pitch moves along; warp: as of log_mel."""

    tempo: int
    warp: float


AS_IT_IS = View(TEMPOS, 1.0)


def views_of(samples: int, config: SoundConfig, rate: int) -> list[View]:
    """Of a sound of so many samples: three tempos times three lengths of the vocal tract, as it is first; one where the training changes none, and of a sound longer than LONGEST."""
    if samples > LONGEST * rate:
        return [AS_IT_IS]
    faster, higher = (round(SHARE * spread) for spread in spreads(config))
    tempos = dict.fromkeys((TEMPOS, TEMPOS - faster, TEMPOS + faster))
    warps = dict.fromkeys((1.0, 1 - higher / WARPS, 1 + higher / WARPS))
    return [View(tempo, warp) for tempo in tempos for warp in warps]


def seen(samples: np.ndarray, view: View, config: SoundConfig, rate: int) -> np.ndarray:
    """[N] samples -> [steps, stack * bands]"""
    return features(changed_rate(samples, TEMPOS, view.tempo), config, rate, view.warp)


def steps_in(views: list[View], samples: int, config: SoundConfig, rate: int) -> int:
    """Steps of all views of a sound of so many samples, each as long as the longest."""
    slowest = min(view.tempo for view in views)
    return len(views) * steps_of(-(-samples * TEMPOS // slowest), config, rate)
