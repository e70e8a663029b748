"""A sound as it is, and as other voices and tempos would say it: a network hears all of them (test-time augmentation)."""

from __future__ import annotations

import numpy as np

from tenor.config import SoundConfig
from tenor.data.frames import edged, features, log_mel, normalised, stacked
from tenor.data.joined import TEMPOS
from tenor.data.sound import changed_rate

# Of what the training changes, so that the network has heard the like: of four models the words that were wrong in connected digits of validation takes fell by a fifth (docs/results.md).
SHARE = 0.75
LONGEST = 60  # seconds: every view judges what is proposed, which takes time with the square of a sound's length (of a minute, in letters, 4 s)


def views(samples: np.ndarray, config: SoundConfig, rate: int) -> list[np.ndarray]:
    """[N] samples -> [steps, stack * bands] of each view, the sound as it is first.

    Three lengths of the vocal tract (as `warp` of SoundConfig) times three tempos (as `speed`); one of each where the training changes none, and of a sound that is longer than LONGEST.
    """
    if len(samples) > LONGEST * rate:
        return [features(samples, config, rate)]
    faster = round(SHARE * config.speed * TEMPOS)
    found = []
    for tempo in dict.fromkeys((TEMPOS, TEMPOS - faster, TEMPOS + faster)):
        told = edged(changed_rate(samples, TEMPOS, tempo), rate)
        for warp in dict.fromkeys((1.0, 1 - SHARE * config.warp, 1 + SHARE * config.warp)):
            found.append(stacked(normalised(log_mel(told, rate, config.bands, warp)), config.stack))
    return found


def most_views(config: SoundConfig) -> int:
    """How many views there are of a sound at most."""
    return (3 if config.warp else 1) * (3 if config.speed else 1)
