"""Pairs of texts to a network that translates: pieces, batches, loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from tenor.config import check
from tenor.data.aligned import Facing, Pair, facing
from tenor.data.batches import by_length, shuffled
from tenor.data.subwords import Subwords, gathered
from tenor.data.text import UNK, Chunks, Ragged, cut
from tenor.errors import TenorError, plural
from tenor.pipelines.translation import Translation
from tenor.training.checkpoint import surroundings
from tenor.training.events import Events
from tenor.training.loop import Goodness, Outcome, by_accuracy, seed_torch
from tenor.training.loop import train as train_network
from tenor.training.presets import Preset

LEAST_PAIRS = 20
# Spellings of each distinct word that are drawn from in training: a rare word is seen less often than that.
VARIANTS = 8
# A word that stands on both sides of a pair, and so seldom in all on each, is <unk> on both sides in some epochs: so copying is learnt.
RARE, UNKNOWN = 5, 0.5


class Side:
    """The training texts of one side, whose spelling differs from epoch to epoch."""

    def __init__(self, pieces: Subwords, texts: Sequence[str], share: float, limit: int, keep: str, seed: int) -> None:
        self.pieces, self.words, self.limit, self.keep = pieces, pieces.words(texts), limit, keep
        self.plain = gathered(pieces.spell(self.words.distinct), self.words, self.words.index.values)
        self.variants = VARIANTS if share else 1
        spelled = pieces.spell(self.words.distinct, share, self.variants, seed)
        self.spelled = spelled.followed_by(Ragged(np.array([UNK], np.int32), np.array([0, 1])))

    def spelling(self, rng: np.random.Generator, unknown: np.ndarray) -> Ragged:
        """Ids of all texts; unknown: words that are <unk> this time, by their places among all words of all texts."""
        index = self.words.index.values
        rows = index.astype(np.int64) * self.variants + rng.integers(self.variants, size=len(index))
        rows[unknown] = len(self.spelled) - 1
        return cut(gathered(self.spelled, self.words, rows), self.limit, self.keep)


class PairExamples:
    """The loop's Examples for pairs of texts."""

    def __init__(self, source: Side, target: Side, validation: tuple[Ragged, Ragged], preset: Preset) -> None:
        self.source, self.target, self.validation_ids = source, target, validation
        self.batch_size, self.seed = preset.train.batch_size, preset.train.seed
        self.copies = _copies(source.words, target.words)
        self._epoch: tuple[int, Ragged, Ragged] | None = None

    def plan(self, epoch: int) -> Sequence[tuple[int, np.ndarray]]:
        return [(epoch, rows) for rows in shuffled(_by_target(self.source.plain, self.target.plain), self.batch_size, self.seed, epoch)]

    def batch(self, planned: tuple[int, np.ndarray]) -> Facing:
        epoch, rows = planned
        if self._epoch is None or self._epoch[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch, 1])
            copied = self.copies[:, rng.random(self.copies.shape[1]) < UNKNOWN]
            self._epoch = (epoch, self.source.spelling(rng, copied[0]), self.target.spelling(rng, copied[1]))
        return facing(*self._epoch[1:], rows)

    def validation(self) -> Iterable[Facing]:
        sources, targets = self.validation_ids
        return (facing(sources, targets, rows) for rows in by_length(_by_target(sources, targets), self.batch_size)) if len(sources) else ()

    def fingerprint(self) -> str:
        """Changes with any piece and its place."""
        digest = hashlib.sha256((self.source.pieces.to_json() + self.target.pieces.to_json()).encode())
        for ids in (self.source.plain, self.target.plain, *self.validation_ids):
            digest.update(np.ascontiguousarray(ids.values).tobytes() + np.ascontiguousarray(ids.offsets).tobytes())
        return digest.hexdigest()


Kind = TypeVar("Kind", bound=Translation)


def fit(pairs: Sequence[Pair], validation_pairs: Sequence[Pair], preset: Preset, events: Events | None = None, work: Path | None = None) -> tuple[Translation, Outcome]:
    """`learn` to translate."""
    return learn(Translation, pairs, validation_pairs, preset, events, work)


def learn(
    kind: type[Kind],
    pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    preset: Preset,
    events: Events | None = None,
    work: Path | None = None,
    goodness: Goodness = by_accuracy,
) -> tuple[Kind, Outcome]:
    """Train a translator, or what is one; the caller's random state is left as it was.

    Args:
        kind: what is made.
        pairs: to learn from. One whose target is longer than `max_tokens` is left out, and counted in `left_out` of what is made; a source is cut to that.
        validation_pairs: to choose the epoch by, likewise; may be none.
        preset: all settings.
        events: is told how it goes. work: folder for checkpoints; one found there is gone on with.
        goodness: what makes an epoch the one to keep.

    Returns:
        It, and how it came to be. In its history `loss` is nats a piece of the target, `accuracy` the share of pieces that got the greatest probability.

    Raises:
        TenorError: a setting outside its range, too few pairs, a loss that is no number, another run's checkpoint.
    """
    config, text = preset.train, preset.text
    check(text, preset.model, config)
    if len(pairs) < LEAST_PAIRS:
        raise TenorError(f"At least {LEAST_PAIRS} pairs are needed to learn from; there are {len(pairs)}. Give more.")
    source, target = pieces_of(pairs, preset)
    fitting = fits(pairs, target, text.max_tokens)
    if len(fitting) < LEAST_PAIRS:
        raise TenorError(f"The decoder writes {text.max_tokens} tokens at most, and only {plural(len(fitting), 'pair')} of {len(pairs):,} have a target so short. Raise --max-tokens.")
    kept = [pairs[i] for i in fitting]
    share, aside = preset.model.piece_dropout, [validation_pairs[i] for i in fits(validation_pairs, target, text.max_tokens)]
    sides = [Side(p, texts, share, text.max_tokens, keep, config.seed) for p, texts, keep in ((source, [p.source for p in kept], text.keep), (target, [p.target for p in kept], "head"))]
    validation = (cut(source.encode([p.source for p in aside])[0], text.max_tokens, text.keep), target.encode([p.target for p in aside])[0])
    examples = PairExamples(sides[0], sides[1], validation, preset)
    with torch.random.fork_rng():
        seed_torch(config.seed)
        made = kind(source, target, text, preset.model, config.device, config.precision, config.label_smoothing)
        settings: dict[str, Any] = asdict(text) | asdict(preset.model) | asdict(config)
        settings |= {"task": kind.task, **surroundings(examples.fingerprint(), made.network.path)}
        outcome = train_network(made.network, examples, config, events or Events(), work, settings, goodness)
    made.take(outcome.weights)
    made.left_out = len(pairs) + len(validation_pairs) - len(kept) - len(aside)
    return made, outcome


def pieces_of(pairs: Sequence[Pair], preset: Preset) -> tuple[Subwords, Subwords]:
    """Of source and target: one vocabulary of both, or one each."""
    sources, targets = [p.source for p in pairs], [p.target for p in pairs]
    if preset.model.shared:
        both = Subwords.train([*sources, *targets], preset.text.vocab)
        return both, both
    return Subwords.train(sources, preset.text.vocab), Subwords.train(targets, preset.text.vocab)


def fits(pairs: Sequence[Pair], target: Subwords, limit: int) -> np.ndarray:
    """Places of the pairs whose target is at most `limit` pieces long."""
    return np.flatnonzero(target.encode([p.target for p in pairs])[0].lengths <= limit)


def _by_target(sources: Ragged, targets: Ragged) -> np.ndarray:
    """What pairs are sorted by: targets of a batch are padded to one length, sources are not."""
    both: np.ndarray = targets.lengths * (int(sources.lengths.max(initial=0)) + 1) + sources.lengths
    return both


def _copies(source: Chunks, target: Chunks) -> np.ndarray:
    """[2, n] places, among all words of each side, of a rare word that stands on both sides of a pair."""
    sides = []
    other = {word: i for i, word in enumerate(source.distinct)}  # a number each word, the source's
    for words, numbers in ((source, range(len(source.distinct))), (target, [other.get(w, -1) for w in target.distinct])):
        seldom = np.bincount(words.index.values, minlength=len(words.distinct)) <= RARE
        number = np.where(seldom, np.array(numbers, np.int64), -1)[words.index.values]
        row = np.repeat(np.arange(len(words.index)), words.index.lengths)
        place = np.flatnonzero(number >= 0)
        sides.append((row[place] * len(other) + number[place], place))
    (left, left_place), (right, right_place) = sides
    _, i, j = np.intersect1d(left, right, return_indices=True)
    return np.stack([left_place[i], right_place[j]])
