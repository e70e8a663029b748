"""Pairs of neighbouring words that tell the labels apart, read as tokens of their own after the words they end with.

"not worth" or "well done" tell what neither of their words does. A network that reads such pairs need not learn them word by
word: in one epoch on film reviews it is better than after four without them (training/presets.py). Chosen by log-count ratios,
as in Wang and Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tenor.data.text import UNK, Ragged
from tenor.errors import TenorError

PAIRS = "pairs"  # the name of the keys among a model's stored weights
# A pair tells if it is seen so often, if its log-count ratio is at least this, and if chance would hardly give it (standard errors).
LEAST_TIMES, LEAST_RATIO, LEAST_SURE = 5, 0.3, 2.5


@dataclass(frozen=True)
class Pairs:
    """Args: keys: [P] int64, first word * vocab + second word, ascending; vocab: word ids there are.

    The ids of the pairs follow those of the words.

    Raises:
        TenorError: keys that are not ascending pairs of the vocabulary.
    """

    keys: np.ndarray
    vocab: int

    def __post_init__(self) -> None:
        k = self.keys
        if k.dtype != np.int64 or k.ndim != 1 or (len(k) and not (k[0] >= 0 and k[-1] < self.vocab**2 and (np.diff(k) > 0).all())):
            raise TenorError(f"Pairs of words must be ascending int64 numbers below {self.vocab} squared. Copy the model folder again.")

    @property
    def words(self) -> tuple[np.ndarray, np.ndarray]:
        """[P] first and [P] second word of each pair."""
        return self.keys // self.vocab, self.keys % self.vocab

    def read(self, ids: Ragged) -> Ragged:
        """Texts as word ids -> with the id of each pair after its second word."""
        places, found = self._find(ids)
        after = np.zeros(len(ids.values) + 1, np.int64)  # pairs that end before each place
        np.cumsum(np.bincount(places, minlength=len(ids.values)), out=after[1:])
        out = np.empty(len(ids.values) + len(places), np.int32)
        out[np.arange(len(ids.values)) + after[:-1]] = ids.values
        out[places + 1 + np.arange(len(places))] = found + self.vocab
        return Ragged(out, ids.offsets + after[ids.offsets])

    def _find(self, ids: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Places in `ids.values` where a pair ends, ascending, and which pair it is."""
        keys, ends = neighbours(ids, self.vocab)
        if not len(self.keys):
            return ends[:0], ends[:0]
        # Most neighbours are no pair; a table of some bits of the key rules them out faster than a search does.
        maybe = np.zeros(1 << _BITS, bool)
        maybe[_some_bits(self.keys)] = True
        asked = maybe[_some_bits(keys)]
        keys, ends = keys[asked], ends[asked]
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = self.keys[place] == keys
        return ends[found], place[found]


def choose_pairs(ids: Ragged, targets: np.ndarray, labels: int, vocab: int, most: int) -> Pairs:
    """The surest pairs of training texts.

    Args:
        ids: texts as word ids.
        targets: [rows] label indexes.
        labels, vocab: how many there are.
        most: how many are kept at most.
    """
    keys, ends = neighbours(ids, vocab)
    keys, counts = _counts(keys, np.repeat(targets, ids.lengths)[ends], labels)
    often = counts.sum(1) >= LEAST_TIMES
    keys = keys[often]
    ratio, sure = log_ratios(counts[often], counts.sum(0))
    telling = ((np.abs(ratio) > LEAST_RATIO) & (np.abs(sure) > LEAST_SURE)).any(1)
    surest = np.abs(sure[telling]).max(1)
    kept = np.sort(np.argsort(-surest, kind="stable")[:most])
    return Pairs(keys[telling][kept], vocab)


def log_ratios(counts: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How tokens are spread over the labels.

    Args:
        counts: [tokens, labels] occurrences.
        sums: [labels] occurrences of all tokens.

    Returns:
        Logarithm of a token's share among the label's tokens over its share among the others', add-one smoothed, and the
        difference of the shares in its standard errors. [tokens, labels]; for two labels [tokens, 1], the second label's.
    """
    times = counts.sum(1, keepdims=True)
    here = counts[:, 1:] if counts.shape[1] == 2 else counts
    sum_here = sums[-here.shape[1] :]
    there, sum_there = times - here, np.maximum(sums.sum() - sum_here, 1)
    sum_here = np.maximum(sum_here, 1)
    ratio = np.log((here + 1) / sum_here) - np.log((there + 1) / sum_there)
    errors = np.sqrt((times + 1) / (sum_here + sum_there) * (1 / sum_here + 1 / sum_there))
    return ratio, (here / sum_here - there / sum_there) / errors


def counts_by_label(ids: Ragged, targets: np.ndarray, labels: int, vocab: int) -> np.ndarray:
    """[vocab, labels] occurrences of each id."""
    coded = ids.values.astype(np.int64) * labels + np.repeat(targets, ids.lengths)
    return np.bincount(coded, minlength=vocab * labels).reshape(vocab, labels)


def neighbours(ids: Ragged, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring known words of one text: first * vocab + second, and the place of the second in `ids.values`, ascending."""
    words = ids.values
    both = (words[:-1] > UNK) & (words[1:] > UNK)
    starts = ids.offsets[1:-1]  # a text's first word has no word before it
    both[starts[(starts > 0) & (starts < len(words))] - 1] = False
    ends = np.flatnonzero(both) + 1
    return words[ends - 1].astype(np.int64) * vocab + words[ends], ends


def _counts(keys: np.ndarray, targets: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """[K] distinct keys, ascending, and [K, labels] their occurrences. Sorting once is faster than np.unique with its places."""
    coded = keys * labels + targets
    if len(coded) and coded.max() < 2**31:
        coded = coded.astype(np.int32)  # sorts in half the time
    coded = np.sort(coded)
    first = np.flatnonzero(np.diff(coded, prepend=-1))
    key, label = np.divmod(coded[first], labels)
    new = np.diff(key, prepend=-1) > 0
    counts = np.zeros((int(new.sum()), labels), np.int64)
    counts[np.cumsum(new) - 1, label] = np.diff(first, append=len(coded))
    return key[new].astype(np.int64), counts


_BITS = 22


def _some_bits(keys: np.ndarray) -> np.ndarray:
    """The upper bits of a product: Knuth's multiplicative hashing."""
    return ((keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _BITS)).astype(np.int64)
