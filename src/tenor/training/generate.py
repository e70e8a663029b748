"""Texts to a network that goes on with them: pieces, streams, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.config import check
from tenor.data.pieces import Pieces
from tenor.data.streams import Segment, Streams, once
from tenor.errors import TenorError
from tenor.pipelines.generation import CARRIED, Generation
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Outcome, by_loss, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import Preset

LEAST_CHARACTERS = 100


class StreamExamples:
    """The loop's Examples for text that is read on and on: the batches of an epoch follow each other, and the network carries its state along."""

    def __init__(self, ids: np.ndarray, validation_ids: np.ndarray, preset: Preset) -> None:
        self.streams = Streams.of(ids, preset.train.batch_size, preset.text.max_tokens, preset.train.seed)
        self.validation_ids = validation_ids

    def plan(self, epoch: int) -> Sequence[tuple[int, int]]:
        return [(epoch, number) for number in range(self.streams.segments())]

    def batch(self, planned: tuple[int, int]) -> Segment:
        return self.streams.segment(*planned)

    def validation(self) -> Iterable[Segment]:
        return once(self.validation_ids, self.streams.batch, self.streams.length)

    def fingerprint(self, pieces: Pieces) -> str:
        """Changes with any character and its place."""
        digest = hashlib.sha256(pieces.to_json().encode())
        for ids in (self.streams.ids, self.validation_ids):
            digest.update(np.int64(len(ids)).tobytes() + np.ascontiguousarray(ids).tobytes())
        return digest.hexdigest()


def fit(
    texts: Sequence[str], validation_texts: Sequence[str], preset: Preset, events: Events | None = None, work: Path | None = None
) -> tuple[Generation, Outcome]:
    """Train a generator; the caller's random state is left as it was.

    Args:
        texts: to learn from, one or many.
        validation_texts: to choose the epoch by; may be none.
        preset: all settings.
        events: is told how it goes. work: folder for checkpoints; one found there is gone on with.

    Returns:
        The generator, and how it came to be. In its history `loss` is nats a token, `accuracy` the share of tokens that got the greatest probability.

    Raises:
        TenorError: a setting outside its range, too little text, a loss that is no number, another run's checkpoint.
    """
    config = preset.train
    check(preset.text, preset.model, config)
    total = sum(map(len, texts))
    if total < LEAST_CHARACTERS:
        raise TenorError(f"Learning to write needs at least {LEAST_CHARACTERS} characters of text to learn from; there are {total}. Give more text.")
    pieces = Pieces.train(texts, preset.text)
    examples = StreamExamples(pieces.joined(texts), pieces.joined(validation_texts), preset)
    with torch.random.fork_rng():
        seed_torch(config.seed)
        start = "break" if len(texts) > 1 else "line"
        made = Generation(pieces, preset.text, preset.model, start, config.device, config.precision, examples.streams.batch)
        settings: dict[str, Any] = asdict(preset.text) | asdict(preset.model) | asdict(config)
        settings |= surroundings(examples.fingerprint(pieces), made.network.path)
        outcome = train_network(made.network, examples, config, events or Events(), work, settings, by_loss)
    made.take({k: v for k, v in outcome.weights.items() if k != CARRIED})
    return made, outcome
