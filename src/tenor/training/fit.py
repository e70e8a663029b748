"""Texts and label indexes to a trained classifier: network, examples, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenor.config import check
from tenor.data.batches import by_length, pack, shuffled
from tenor.data.pairs import Pairs, choose_pairs, counts_by_label
from tenor.data.text import Ragged, Tokenizer
from tenor.errors import TenorError
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Outcome, by_accuracy, by_time, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import SMALL, Preset
from tenor.training.teacher import Taught
from tenor.training.texts import Labelled
from tenor.training.vectors import neighbour_counts, with_pairs, word_vectors

# Validation rows that choose an epoch of what learns from many other texts too. Of 50 rows they chose the first of four epochs (AUC 0.9615 on 5,910 others, the last 0.9704) or the second (0.9699, 0.9709); see docs/experiments.md.
ENOUGH = 1000

# Where fewer than SMALL rows have a label: of texts that nobody labelled, so many for each reading of a labelled one, which is read so many times an epoch at most. 4 to 15 times an epoch were tried, in several trainings, and not one told from the other (docs/experiments.md).
OTHERS, MOST_TIMES = 4, 15


class ClassifyExamples:
    """The loop's Examples for texts with a label, or with a teacher's probabilities, or with neither.

    Each epoch takes all rows with a label. Of those that a teacher labelled it takes a part, so that over all epochs each is read
    once. Of those that nobody labelled it takes two for each with a label, others in the next epoch, or all if they are fewer. Where fewer than
    SMALL rows have a label it takes more of these, if they are many: so many that each is read once over all epochs; and reads those with a label again and again, so that they are up to a fifth of the epoch.

    Args:
        ids, validation_ids: as the network reads them.
        targets: [rows] int64 or [rows, labels] float32, those with a label first; nan where nobody labelled a row. labelled: how many have a label.
        validation_targets: [rows] int64.
        preset: all settings. pad_to: see batches.pack.
    """

    def __init__(self, ids: Ragged, targets: np.ndarray, labelled: int, validation_ids: Ragged, validation_targets: np.ndarray, preset: Preset, pad_to: int) -> None:
        self.ids, self.targets, self.labelled = ids, torch.from_numpy(targets), labelled
        self.validation_ids, self.validation_targets = validation_ids, torch.from_numpy(validation_targets)
        self.settings, self.pad_to = preset.train, pad_to
        # Rows that are padded to one length need no batches of equal length: they are drawn plainly at random.
        self.lengths = np.full(len(ids), pad_to) if pad_to else ids.lengths

    def plan(self, epoch: int) -> Sequence[np.ndarray]:
        rows = self._rows(epoch)
        return [rows[batch] for batch in shuffled(self.lengths[rows], self.settings.batch_size, self.settings.seed, epoch)]

    def batch(self, planned: np.ndarray) -> tuple[Any, ...]:
        return pack(self.ids, planned, self.pad_to), self.targets, self.settings.adversary

    def validation(self) -> Iterable[tuple[Any, ...]]:
        for rows in by_length(self.validation_ids.lengths, 128):
            yield pack(self.validation_ids, rows, self.pad_to), self.validation_targets

    def fingerprint(self, tokenizer: Tokenizer) -> str:
        """Changes with any word, label or order of rows."""
        digest = hashlib.sha256(tokenizer.to_json().encode())
        ids, validation = self.ids, self.validation_ids
        for array in (ids.values, ids.offsets, self.targets.numpy(), validation.values, validation.offsets, self.validation_targets.numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _rows(self, epoch: int) -> np.ndarray:
        known, epochs = np.arange(self.labelled), self.settings.epochs
        others = np.random.default_rng(self.settings.seed).permutation(np.arange(self.labelled, len(self.ids)))
        if not len(others) or not bool(self.targets[-1].isnan().any()):
            return np.concatenate([known, np.sort(others[epoch % epochs :: epochs])])
        part = 2 * self.labelled
        if self.labelled < SMALL:
            part = max(part, -(-len(others) // epochs))
            known = np.tile(known, max(1, min(MOST_TIMES, part // (OTHERS * self.labelled))))
        part = min(len(others), part)
        return np.concatenate([known, np.sort(np.take(others, np.arange(epoch * part, (epoch + 1) * part), mode="wrap"))])


def fit(
    rows: Labelled,
    preset: Preset,
    events: Events | None = None,
    work: Path | None = None,
    start: Pretrained | None = None,
    taught: Taught | None = None,
    pairs: Pairs | None = None,
) -> tuple[Pipeline, Outcome]:
    """Train a classifier; the caller's random state is left as it was.

    Args:
        rows: to learn from, and to choose the epoch; of fewer than ENOUGH validation rows it is the last one, if `taught` has more texts than they are and the rate goes down to it.
        preset: all settings.
        events: is told how it goes.
        work: folder for checkpoints; one found there is gone on with.
        start: what the network starts from; the tokenizer of `rows` and pairs of words are then its own.
        taught: more texts to learn from, with a teacher's probabilities, or for an adversary without.
        pairs: of words, to be read; None: those of the start, or chosen here if the settings want any.

    Returns:
        The classifier, and how it came to be.

    Raises:
        TenorError: a setting outside its range, no memory for the network, a loss that is no number, another run's checkpoint.
    """
    check(preset.text, preset.model, preset.train)
    assert not taught or taught.weights or (start and preset.train.adversary), "what nobody labelled teaches by an adversary alone, and says nothing of word vectors and pairs"
    labels, tokenizer, whole, guesses = rows.labels, rows.tokens.tokenizer, rows.tokens.ids, rows.targets
    if taught:
        whole, guesses = whole.followed_by(tokenizer.encode(taught.texts)), np.concatenate([rows.targets, taught.shares.argmax(1)])
    with ThreadPoolExecutor(1) as beside:  # each is 2 to 3 seconds of numpy on one core
        counting = beside.submit(neighbour_counts, whole, len(tokenizer)) if preset.train.vectors and not start else None
        if start:
            pairs = start.pairs
        elif preset.text.pairs and not pairs:
            pairs = choose_pairs(whole, guesses, len(labels), len(tokenizer), preset.text.pairs)
    with torch.random.fork_rng():
        seed_torch(preset.train.seed)
        try:
            pipeline = Pipeline(labels, tokenizer, preset.text, preset.model, preset.train.device, preset.train.precision, pairs)
        except RuntimeError as error:  # torch has no class of its own for want of memory on a CPU
            if "memory" not in str(error):
                raise
            raise TenorError(f"There is no memory for a network of this size ({str(error).splitlines()[0]}). Lower --hidden, --embedding, --layers or --vocab.") from error
        if start:
            start.give(pipeline.network, labels)
        elif counting:
            vectors = word_vectors(counting.result(), preset.model.embedding, preset.train.seed)
            if pairs:
                vectors = with_pairs(vectors, pairs, counts_by_label(pairs.read(whole), guesses, len(labels), len(tokenizer) + len(pairs.keys)))
            for network in pipeline.network.members:
                network.encoder.embedding.weight.data.copy_(torch.from_numpy(vectors))
        targets = _targets(rows.targets, len(labels), preset.train.label_smoothing, taught)
        validation_ids = pipeline.read(tokenizer.encode(rows.validation_texts))
        examples = ClassifyExamples(pipeline.read(whole), targets, len(rows.targets), validation_ids, rows.validation_targets, preset, pipeline.pad_to)
        settings = asdict(preset.text) | asdict(preset.model) | asdict(preset.train) | surroundings(examples.fingerprint(pipeline.tokenizer), pipeline.network.path)
        settings |= {"labels": list(map(str, pipeline.labels)), "start": start.fingerprint() if start else ""}
        last = last_is_kept(preset.train.schedule, len(rows.validation_targets), len(rows.texts), len(taught.texts) if taught else 0)
        outcome = train_network(pipeline.network, examples, preset.train, events or Events(), work, settings, by_time if last else by_accuracy)
    pipeline.network.load_state_dict(outcome.weights)
    pipeline.network.eval()
    return pipeline, outcome


def last_is_kept(schedule: str, validation: int, labelled: int, others: int) -> bool:
    """Whether the last epoch is kept, and not one that validation rows choose; others: texts without a label that are learnt from."""
    return schedule == "one_cycle" and validation < ENOUGH and others > labelled


def _targets(labelled: np.ndarray, labels: int, smoothing: float, taught: Taught | None) -> np.ndarray:
    """[rows] int64, or where answers are not all or nothing [rows, labels] float32."""
    if not taught and not smoothing:
        return labelled
    shares = np.eye(labels, dtype=np.float32)[labelled] * np.float32(1 - smoothing) + np.float32(smoothing / labels)
    return np.concatenate([shares, taught.shares]) if taught else shares
