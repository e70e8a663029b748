"""Texts without labels to an encoder that knows the language: both its directions learn to foretell words (models/language.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.cells.hardware import choose_device, choose_dtype
from tenor.config import TextConfig, TrainConfig, check
from tenor.data.batches import by_length, pack, shuffled
from tenor.data.text import SPECIAL, Ragged, Tokenizer, chop
from tenor.errors import TenorError
from tenor.models.language import LanguageModel
from tenor.pipelines.pretrained import Pretrained
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Outcome, by_loss, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import Preset
from tenor.training.texts import Tokenised
from tenor.training.vectors import neighbour_counts, word_vectors

DRAWS = 1024  # words drawn a batch, about 600 of them distinct: 4,096 take longer, and a language model of 512 units learnt as well with these (docs/experiments.md)


# Texts that are kept aside to see how well words are foretold: a twentieth, at most so many.
MOST_ASIDE = 1000
LEAST_TEXTS = 100


def kept_aside(texts: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Different texts -> those to learn from, and some to check on; which follows from the seed. Raises TenorError: fewer than LEAST_TEXTS."""
    if len(texts) < LEAST_TEXTS:
        raise TenorError(f"Pretraining needs at least {LEAST_TEXTS} different texts; there are {len(texts)}. Give more, or train without it.")
    draw = np.random.default_rng(seed).permutation(len(texts))
    aside = min(MOST_ASIDE, len(texts) // 20)
    return [texts[i] for i in np.sort(draw[aside:])], [texts[i] for i in np.sort(draw[:aside])]


class LanguageExamples:
    """The loop's Examples for texts alone. Long texts are read in pieces; what is drawn follows from seed, epoch and batch."""

    def __init__(self, ids: Ragged, validation_ids: Ragged, vocab: int, text: TextConfig, config: TrainConfig) -> None:
        self.ids, self.validation_ids = chop(ids, text.max_tokens), chop(validation_ids, text.max_tokens)
        self.size, self.seed = config.batch_size, config.seed
        times = np.bincount(ids.values, minlength=vocab).astype(np.float64)
        times[: len(SPECIAL)] = 0
        if not times.any():
            raise TenorError("The texts hold no known word at all. Choose the right column with --text.")
        self.upto = np.cumsum(times) / times.sum()

    def plan(self, epoch: int) -> Sequence[tuple[list[int], np.ndarray]]:
        return [([self.seed, epoch, i], rows) for i, rows in enumerate(shuffled(self.ids.lengths, self.size, self.seed, epoch))]

    def batch(self, planned: tuple[list[int], np.ndarray]) -> tuple[Any, ...]:
        key, rows = planned
        return pack(self.ids, rows), self._drawn(key)

    def validation(self) -> Iterable[tuple[Any, ...]]:
        for i, rows in enumerate(by_length(self.validation_ids.lengths, self.size)):
            yield pack(self.validation_ids, rows), self._drawn([i])

    def fingerprint(self, tokenizer: Tokenizer) -> str:
        """Changes with any word or order of texts."""
        digest = hashlib.sha256(tokenizer.to_json().encode())
        for ids in (self.ids, self.validation_ids):
            for array in ids.values, ids.offsets:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _drawn(self, key: list[int]) -> torch.Tensor:
        draws = np.random.default_rng(key).random(DRAWS)
        return torch.from_numpy(np.searchsorted(self.upto, draws, side="right"))


def pretrain(train: Tokenised, validation_texts: Sequence[str], preset: Preset, events: Events | None = None, work: Path | None = None) -> tuple[Pretrained, Outcome]:
    """Train a language model; the caller's random state is left as it was.

    Args:
        train: texts.
        validation_texts: cleaned, none of them among the texts.
        preset: all settings.
        events: is told how it goes. work: folder for checkpoints; one found there is gone on with.

    Returns:
        The encoder, and how it came to be. In its history `loss` is nats a word, among it and DRAWS words that are drawn by their frequency:
        who knows frequencies alone has log(DRAWS + 1), and no perplexity over the vocabulary follows from it. `accuracy` is the share of
        words that got a greater score than all the drawn ones, which count as often as they were drawn: it is low for all models.

    Raises:
        TenorError: a setting outside its range, a loss that is no number, another run's checkpoint, texts without a word.
    """
    config, tokenizer = preset.train, train.tokenizer
    check(preset.text, preset.model, config)
    examples = LanguageExamples(train.ids, tokenizer.encode(validation_texts), len(tokenizer), preset.text, config)
    with torch.random.fork_rng():
        seed_torch(config.seed)
        where = choose_device(config.device)
        network = LanguageModel(len(tokenizer), preset.model, choose_dtype(config.precision, where, preset.model)).to(where)
        if config.vectors:
            vectors = word_vectors(neighbour_counts(train.ids, len(tokenizer)), preset.model.embedding, config.seed)
            network.encoder.embedding.weight.data.copy_(torch.from_numpy(vectors))
        settings = asdict(preset.text) | asdict(preset.model) | asdict(config)
        settings |= surroundings(examples.fingerprint(tokenizer), network.path)
        outcome = train_network(network, examples, config, events or Events(), work, settings, by_loss)
    encoder = {k.removeprefix("encoder."): v.cpu().numpy() for k, v in outcome.weights.items() if k.startswith("encoder.")}
    return Pretrained(tokenizer, preset.text, preset.model, [encoder]), outcome
