"""Recordings to a network that writes down what is said: symbols, joined strings, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.config import SoundConfig, check
from tenor.data.frames import steps_of
from tenor.data.joined import Lesson, SoundBatch, needed, unchanged
from tenor.data.recordings import Recording, Symbols
from tenor.errors import TenorError, plural
from tenor.pipelines.transcription import Transcription
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Outcome, by_loss, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import Preset

LEAST_RECORDINGS = 10
LONGEST_JOINED = 8.0  # seconds: recordings are joined where about so many seconds hold two of them or more


class SpeechExamples:
    """The loop's Examples for recordings: an epoch joins and changes them anew; validation rows stand alone and in strings, unchanged."""

    def __init__(self, rows: Sequence[Recording], validation: Sequence[Recording], symbols: Symbols, sound: SoundConfig, rate: int, preset: Preset) -> None:
        self.rows, self.aside = rows, validation
        self.lesson = Lesson(rows, symbols, sound, rate, preset.train.batch_size, preset.train.epochs, preset.train.seed)
        self.batches = unchanged(validation, symbols, sound, rate, preset.train.seed) if validation else []

    def plan(self, epoch: int) -> Sequence[tuple[int, int, list[list[int]]]]:
        return self.lesson.plan(epoch)

    def batch(self, planned: tuple[int, int, list[list[int]]]) -> SoundBatch:
        return self.lesson.batch(planned)

    def validation(self) -> Iterable[SoundBatch]:
        return self.batches

    def fingerprint(self) -> str:
        """Changes with any sample, transcript or speaker, and their order."""
        digest = hashlib.sha256()
        for rows in (self.rows, self.aside):
            for r in rows:
                digest.update(f"{len(r.samples)} {r.text!r} {r.speaker!r}".encode() + r.samples.tobytes())
            digest.update(b"|")
        return digest.hexdigest()


def fit(
    rows: Sequence[Recording], validation: Sequence[Recording], rate: int, preset: Preset, events: Events | None = None, work: Path | None = None
) -> tuple[Transcription, Outcome]:
    """Train a network that transcribes; the caller's random state is left as it was.

    Args:
        rows: to learn from. validation: to choose the epoch by; may be none.
        rate: samples a second of all of them.
        preset: all settings.
        events: is told how it goes. work: folder for checkpoints; one found there is gone on with.

    Returns:
        The model, and how it came to be. In its history `loss` is CTC's in nats a symbol, by which the epoch is chosen, `accuracy` the share of strings without an error.

    Raises:
        TenorError: a setting outside its range, too few recordings, a transcript too long for its sound, a loss that is no number, another run's checkpoint.
    """
    config, wished = preset.train, preset.text
    check(wished, preset.model, config)
    if len(rows) < LEAST_RECORDINGS:
        raise TenorError(f"Learning to transcribe needs at least {LEAST_RECORDINGS} recordings to learn from; there are {len(rows)}. Give more.")
    symbols = Symbols.of([r.text for r in rows], wished.tokens)
    check_lengths([*rows, *validation], symbols, wished, rate)
    sound = replace(wished, join=joined(rows, rate, wished.join))
    examples = SpeechExamples(rows, validation, symbols, sound, rate, preset)
    with torch.random.fork_rng():
        seed_torch(config.seed)
        made = Transcription(symbols, wished, preset.model, rate, config.device, config.precision)
        settings: dict[str, Any] = {"task": "transcribe"} | asdict(sound) | asdict(preset.model) | asdict(config) | {"symbols": symbols.names, "rate": rate}
        settings |= surroundings(examples.fingerprint(), made.network.path)
        outcome = train_network(made.network, examples, config, events or Events(), work, settings, by_loss)  # of 120 epochs on digits the 71st had one string more right, at twice the loss of the 113th (docs/results.md)
    made.take(outcome.weights)
    return made, outcome


def joined(rows: Sequence[Recording], rate: int, most: int) -> int:
    """How many recordings a string may have: as wished, and about LONGEST_JOINED in all; sentences are not joined."""
    if not rows:
        return most
    usual = float(np.median([len(r.samples) for r in rows])) / rate
    return max(1, min(most, int(LONGEST_JOINED / max(usual, 1e-3))))


def check_lengths(rows: Sequence[Recording], symbols: Symbols, sound: SoundConfig, rate: int) -> None:
    """Raises TenorError if a transcript has more symbols than its sound has steps."""
    wrong = []
    for r in rows:
        wanted, steps = needed(symbols.encode(r.text)), steps_of(len(r.samples), sound, rate)
        if wanted > steps:
            wrong.append(f"{r.name} ({wanted} needed, {steps} there)")
    if wrong:
        listed = ", ".join(wrong[:5]) + (" ..." if len(wrong) > 5 else "")
        raise TenorError(
            f"A transcript needs a step of {sound.stack * 10} ms for each of its symbols (and one between two that are the same); "
            f"{plural(len(wrong), 'sound')} too short for what is said: {listed}. Correct these rows or leave them out, or take shorter steps."
        )
