"""Recordings joined to connected speech, and changed anew each time they are heard: voice, tempo, level, noise, holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tenor.config import SoundConfig
from tenor.data.frames import edged, features, frames_of, samples_of, stacked
from tenor.data.recordings import Recording, Symbols, of_whole
from tenor.data.sound import changed_rate

TEMPOS, WARPS = 40, 50  # tempo changes in steps of a 40th, the length of the vocal tract in steps of a 50th


class SoundBatch(NamedTuple):
    """steps: [T, B, F] float32, zeros after a row's end; lengths: [B] steps of each row; targets: [sum of sizes] symbols of all rows; sizes: [B] symbols of each."""

    steps: Tensor
    lengths: Tensor
    targets: Tensor
    sizes: Tensor


class Joined(NamedTuple):
    """One sound of several recordings. samples: [N] float32; text: what is said in it."""

    samples: np.ndarray
    text: str


def strings(recordings: Sequence[Recording], rng: np.random.Generator, most: int, singles: float, least: int = 2) -> list[list[int]]:
    """Indexes of all recordings, each once, in strings of one speaker.

    Args:
        most: recordings of a string at most.
        singles: share of the strings that are one recording; the others have any number from `least` to `most`, but for what is left of a speaker.
    """
    voices: dict[str, list[int]] = {}
    for i, r in enumerate(recordings):
        voices.setdefault(r.speaker, []).append(i)
    found = []
    for voice in voices.values():
        order = rng.permutation(voice).tolist()
        while order:
            count = 1 if most == 1 or rng.random() < singles else int(rng.integers(min(least, most), most + 1))
            found.append(order[:count])
            order = order[count:]
    return found


def join(recordings: Sequence[Recording], rng: np.random.Generator, config: SoundConfig, rate: int, speed: int = TEMPOS) -> Joined:
    """Recordings one after another, each at a level of its own, with random silences between and around them.

    Args:
        speed: in 40ths of the recordings' own.
    """
    pieces = []
    for r in recordings:
        samples = changed_rate(of_whole(r.samples), TEMPOS, speed)
        pieces += [_silence(rng, config, rate), samples * np.float32(_decibels(rng.uniform(-config.level, config.level)))]
    pieces.append(_silence(rng, config, rate))
    return Joined(np.concatenate(pieces), " ".join(r.text for r in recordings if r.text))


def spreads(config: SoundConfig) -> tuple[int, int]:
    """By how many TEMPOS-ths and WARPS-ths a training changes what it hears, at most."""
    return round(config.speed * TEMPOS), round(config.warp * WARPS)


def heard(recordings: Sequence[Recording], rng: np.random.Generator, config: SoundConfig, rate: int, least: int) -> np.ndarray:
    """What a training hears of a string: [steps, stack * bands], at least so many steps (silence is added where a fast tempo leaves too few)."""
    faster, higher = spreads(config)
    samples = join(recordings, rng, config, rate, TEMPOS + int(rng.integers(-faster, faster + 1))).samples
    samples = np.pad(samples, (0, max(0, samples_of(least, config, rate) - len(samples))))
    samples = _noisy(edged(samples, rate), rng, config)
    frames = frames_of(samples, config, rate, 1 + int(rng.integers(-higher, higher + 1)) / WARPS)
    return stacked(_holes(frames, rng, config), config.stack)


def _silence(rng: np.random.Generator, config: SoundConfig, rate: int) -> np.ndarray:
    return np.zeros(int(rng.uniform(0, config.silence) * rate), np.float32)


def _noisy(samples: np.ndarray, rng: np.random.Generator, config: SoundConfig) -> np.ndarray:
    """With hiss of any colour, so many decibels below the speech."""
    from scipy.signal import lfilter

    if rng.random() >= config.noisy:
        return samples
    hiss = lfilter([1.0], [1.0, -rng.uniform(-0.3, 0.95)], rng.standard_normal(len(samples), np.float32)).astype(np.float32)
    speech, noise = float(np.mean(samples**2)), float(np.mean(hiss**2))
    below = rng.uniform(config.loudest_noise, config.quietest_noise)
    found: np.ndarray = samples + hiss * np.float32(np.sqrt(speech / max(noise, 1e-12)) * _decibels(-below))
    return found


def _holes(frames: np.ndarray, rng: np.random.Generator, config: SoundConfig) -> np.ndarray:
    """Bands and times set to their mean (Park et al. 2019, arXiv 1904.08779v3)."""
    steps, bands = frames.shape
    frames = frames.copy()
    for _ in range(config.band_holes):
        width = int(rng.integers(0, config.band_hole + 1))
        start = int(rng.integers(0, max(1, bands - width + 1)))
        frames[:, start : start + width] = 0
    for _ in range(-(-steps * config.time_holes // 100)):
        width = int(rng.integers(0, config.time_hole + 1))
        start = int(rng.integers(0, max(1, steps - width + 1)))
        frames[start : start + width] = 0
    return frames


def _decibels(level: float) -> float:
    return float(10 ** (level / 20))


def batch_of(steps: Sequence[np.ndarray], targets: Sequence[list[int]]) -> SoundBatch:
    """Rows of any lengths side by side."""
    lengths = [len(s) for s in steps]
    padded = np.zeros((max(lengths), len(steps), steps[0].shape[1]), np.float32)
    for place, row in enumerate(steps):
        padded[: len(row), place] = row
    flat = [symbol for row in targets for symbol in row]
    return SoundBatch(torch.from_numpy(padded), torch.tensor(lengths), torch.tensor(flat, dtype=torch.int64), torch.tensor([len(t) for t in targets]))


class Lesson:
    """What a training hears: each recording once an epoch, joined and changed by random numbers that follow from seed, epoch and batch.

    Args:
        recordings, symbols, config, rate: the data, and how it is read; the first `alone` of the epochs join nothing.
        batch_size: recordings of a batch, about; all epochs have as many batches.
        epochs: of the training.
        seed: of the random numbers.
    """

    def __init__(self, recordings: Sequence[Recording], symbols: Symbols, config: SoundConfig, rate: int, batch_size: int, epochs: int, seed: int) -> None:
        self.recordings, self.symbols, self.config, self.rate, self.seed = recordings, symbols, config, rate, seed
        self.batch_size, self.begins = batch_size, round(config.alone * epochs)
        self.most = min(config.join, batch_size)

    def plan(self, epoch: int) -> list[tuple[int, int, list[list[int]]]]:
        """(epoch, number, strings) of each batch; strings of a batch are of nearly equal length."""
        rng = np.random.default_rng([self.seed, epoch])
        found = strings(self.recordings, rng, 1 if epoch < self.begins else self.most, self.config.singles)
        found.sort(key=lambda s: -sum(len(self.recordings[i].samples) for i in s))
        batches: list[list[list[int]]] = [[] for _ in range(-(-len(self.recordings) // self.batch_size))]
        before = 0
        for string in found:  # it goes where its first recording falls, and none is longer than a batch: no batch is empty
            batches[before // self.batch_size].append(string)
            before += len(string)
        return [(epoch, int(i), batches[i]) for i in rng.permutation(len(batches))]

    def batch(self, planned: tuple[int, int, list[list[int]]]) -> SoundBatch:
        epoch, number, chosen = planned
        rng = np.random.default_rng([self.seed, epoch, number])
        rows = [[self.recordings[i] for i in string] for string in chosen]
        targets = [self.symbols.encode(" ".join(r.text for r in row)) for row in rows]
        return batch_of([heard(row, rng, self.config, self.rate, needed(t)) for row, t in zip(rows, targets, strict=True)], targets)


def needed(symbols: Sequence[int]) -> int:
    """Steps that CTC needs at least: one a symbol, and a blank between two that are the same."""
    return len(symbols) + sum(a == b for a, b in pairwise(symbols))


def unchanged(recordings: Sequence[Recording], symbols: Symbols, config: SoundConfig, rate: int, seed: int) -> list[SoundBatch]:
    """Batches of each recording alone, and, if a training joins them, of each once more in strings; nothing else is changed."""
    rows: list[Sequence[Recording]] = [[r] for r in recordings]
    if config.join > 1:
        rng = np.random.default_rng(seed)
        rows += [[recordings[i] for i in string] for string in strings(recordings, rng, config.join, 0.0)]
    plain = replace(config, level=0.0)
    found = []
    for start in range(0, len(rows), 64):
        chunk = rows[start : start + 64]
        sounds = [of_whole(row[0].samples) if len(row) == 1 else join(row, np.random.default_rng([seed, start, i]), plain, rate).samples for i, row in enumerate(chunk)]
        found.append(batch_of([features(s, config, rate) for s in sounds], [symbols.encode(" ".join(r.text for r in row)) for row in chunk]))
    return found
