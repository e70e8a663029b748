"""Tagged sentences to a network that tags others: lexicon, batches, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.config import TrainConfig, check
from tenor.data.batches import by_length, shuffled
from tenor.data.lexicon import Encoded, Lexicon, TagBatch, batch_of
from tenor.data.spans import in_iob2, marks_spans
from tenor.data.splits import validation_split
from tenor.data.tagged import Sentence
from tenor.errors import TenorError
from tenor.pipelines.tagging import Tagging
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Outcome, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import Preset


class TagExamples:
    """The loop's Examples for tagged sentences."""

    def __init__(self, data: Encoded, validation: Encoded, config: TrainConfig) -> None:
        self.data, self.others, self.config = data, validation, config

    def plan(self, epoch: int) -> Sequence[np.ndarray]:
        return shuffled(self.data.forms.lengths, self.config.batch_size, self.config.seed, epoch)

    def batch(self, planned: np.ndarray) -> tuple[TagBatch]:
        return (batch_of(self.data, planned),)

    def validation(self) -> Iterable[tuple[TagBatch]]:
        for rows in by_length(self.others.forms.lengths, 64):
            yield (batch_of(self.others, rows),)

    def fingerprint(self, lexicon: Lexicon) -> str:
        """Changes with any word, tag, value beside them, or order of sentences."""
        digest = hashlib.sha256(lexicon.to_json().encode())
        for data in (self.data, self.others):
            for array in (data.forms.values, data.forms.offsets, data.words, data.spelling.values, data.spelling.offsets, data.beside, data.tags):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def in_spans(sentences: Sequence[Sentence]) -> bool:
    """Whether the tags mark spans."""
    return marks_spans(t for s in sentences for t in s.tags)


def not_in_iob2(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Those whose tags are not of IOB2: one of them, and the ends of spans are not told apart."""
    return [s for s in sentences if not in_iob2(s.tags)]


def divided(sentences: Sequence[Sentence], wish: float | None, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to learn from and, drawn from them, sentences to choose the epoch by; `wish` as in SplitConfig.validation. Raises TenorError: the wish leaves none."""
    kept, aside = validation_split(np.zeros(len(sentences), int), np.arange(len(sentences)), wish, seed)
    return [sentences[i] for i in kept], [sentences[i] for i in aside]


def fit(
    sentences: Sequence[Sentence], validation: Sequence[Sentence], preset: Preset, events: Events | None = None, work: Path | None = None
) -> tuple[Tagging, Outcome]:
    """Train a tagger; the caller's random state is left as it was.

    Args:
        sentences: to learn from. validation: to choose the epoch by; may be none. Each has words, and values of the columns that the settings name.
        preset: all settings.
        events: is told how it goes. work: folder for checkpoints; one found there is gone on with.

    Returns:
        The tagger, and how it came to be. In its history `loss` is nats a word; `accuracy` is of words, in training of each word's own scores.

    Raises:
        TenorError: a setting outside its range, no sentence or one tag only, a loss that is no number, another run's checkpoint.
    """
    model, config = preset.model, preset.train
    check(preset.text, model, config)
    tags = sorted({t for s in (*sentences, *validation) for t in s.tags})
    if len({t for s in sentences for t in s.tags}) < 2:
        raise TenorError(f"Learning to tag needs sentences with two different tags at least; there are {len(sentences):,} sentences with {len(tags)}. Choose the right column with --label.")
    ends = in_spans((*sentences, *validation)) and not not_in_iob2((*sentences, *validation))
    lexicon = Lexicon.of(sentences, tags, model.columns, preset.text.vocab, ends)
    examples = TagExamples(lexicon.encode(sentences), lexicon.encode(validation), config)
    with torch.random.fork_rng():
        seed_torch(config.seed)
        made = Tagging(lexicon, model, config.device, config.precision)
        settings: dict[str, Any] = asdict(preset.text) | asdict(model) | asdict(config)
        settings |= surroundings(examples.fingerprint(lexicon), made.network.path)
        outcome = train_network(made.network, examples, config, events or Events(), work, settings)
    made.take(outcome.weights)
    return made, outcome
