"""Texts and label indexes to a trained classifier: tokens, network, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.config import check
from tenor.data.batches import by_length, pack, shuffled
from tenor.data.text import Chunks, Ragged, Tokenizer
from tenor.pipeline import Pipeline
from tenor.training.events import Events
from tenor.training.loop import Outcome, train
from tenor.training.presets import Preset


class ClassifyExamples:
    """The loop's Examples for texts with a label."""

    def __init__(self, train_ids: Ragged, train_targets: np.ndarray, validation_ids: Ragged, validation_targets: np.ndarray, preset: Preset, pad_to: int) -> None:
        self.ids, self.targets = train_ids, torch.from_numpy(train_targets)
        self.validation_ids, self.validation_targets = validation_ids, torch.from_numpy(validation_targets)
        self.size, self.seed, self.pad_to = preset.train.batch_size, preset.train.seed, pad_to
        self.lengths = train_ids.lengths

    def plan(self, epoch: int) -> Sequence[np.ndarray]:
        return shuffled(self.lengths, self.size, self.seed, epoch)

    def batch(self, planned: np.ndarray) -> tuple[Any, ...]:
        return pack(self.ids, planned, self.pad_to), self.targets

    def validation(self) -> Iterable[tuple[Any, ...]]:
        for rows in by_length(self.validation_ids.lengths, 128):
            yield pack(self.validation_ids, rows, self.pad_to), self.validation_targets

    def fingerprint(self) -> str:
        """Changes with any token, label or order of rows."""
        digest = hashlib.sha256()
        for array in (self.ids.values, self.ids.offsets, self.targets.numpy(), self.validation_ids.values, self.validation_ids.offsets):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def fit(
    labels: Sequence[Any],
    train_texts: Sequence[str],
    train_targets: np.ndarray,
    validation_texts: Sequence[str],
    validation_targets: np.ndarray,
    preset: Preset,
    events: Events | None = None,
    work: Path | None = None,
) -> tuple[Pipeline, Outcome, dict[str, int]]:
    """Train a classifier; the caller's random state is left as it was.

    Args:
        labels: names in the model's order.
        *_texts: cleaned texts. *_targets: [rows] int64 label indexes.
        preset: all settings.
        events: is told how it goes.
        work: folder for checkpoints; one found there is gone on with.

    Returns:
        The classifier, how it came to be, and counts: tokens of the training texts, those cut, texts cut.
    """
    check(preset.text, preset.model, preset.train)
    chunks = Chunks.of(train_texts)
    tokenizer = Tokenizer.train(chunks, preset.text)
    whole = tokenizer.encode_chunks(chunks)
    with torch.random.fork_rng():
        torch.manual_seed(preset.train.seed)
        pipeline = Pipeline(labels, tokenizer, preset.text, preset.model, preset.train.device, preset.train.precision)
        ids, validation_ids = pipeline.cut(whole), pipeline.cut(tokenizer.encode(validation_texts))
        examples = ClassifyExamples(ids, train_targets, validation_ids, validation_targets, preset, pipeline.pad_to)
        settings = asdict(preset.text) | asdict(preset.model) | asdict(preset.train) | _decisive(pipeline, examples)
        outcome = train(pipeline.network, examples, preset.train, events or Events(), work, settings)
    pipeline.network.load_state_dict(outcome.weights)
    pipeline.network.eval()
    lost = whole.lengths - np.minimum(whole.lengths, preset.text.max_tokens)
    return pipeline, outcome, {"tokens": int(whole.lengths.sum()), "tokens_cut": int(lost.sum()), "texts_cut": int((lost > 0).sum())}


def _decisive(pipeline: Pipeline, examples: ClassifyExamples) -> dict[str, Any]:
    """What else decides the bits of the result, beside the settings."""
    return {
        "data": examples.fingerprint(),
        "labels": list(map(str, pipeline.labels)),
        "kernel": pipeline.network.path,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
