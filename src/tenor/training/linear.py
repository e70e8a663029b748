"""The linear model that stands beside a network as a teacher: n-grams weighted by their log-count ratios (Wang and Manning 2012, "Baselines and bigrams").

It errs in other places than a recurrent network does: the mean of both is better than either (docs/experiments.md).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from tenor.data.pairs import log_ratios
from tenor.data.text import Ragged

LONGEST = 3  # words of an n-gram; 4 gave no more on film reviews
LEAST_TIMES = 4  # that an n-gram occurs in the texts; 2 in fewer than SMALL texts
SMALL = 10_000
PARTS = 3  # in which others are labelled: each learns from two thirds of them
C = 30.0  # inverse strength of the decay; 10 and 30 are the same on film reviews, 3 is worse


class Linear:
    """One logistic regression a label against the others (for two labels one), each on n-grams weighted by that label's ratios, rows of length 1.

    Args:
        ids: training texts as ids, uncut.
        targets: [rows] label indexes. labels: how many there are. vocab: ids there are.
    """

    def __init__(self, ids: Ragged, targets: np.ndarray, labels: int, vocab: int) -> None:
        self.vocab = vocab
        _, keys = _grams(ids, vocab)
        distinct, times = np.unique(keys, return_counts=True)
        often = times >= (LEAST_TIMES if len(ids) >= SMALL else 2)
        self.keys = distinct[often] if often.any() else distinct
        held = self._held(ids)
        counts = np.stack([np.asarray(held[targets == label].sum(0)).ravel() for label in range(labels)], 1)
        self.weights = log_ratios(counts, counts.sum(0))[0].astype(np.float32)  # [grams, 1 or labels]
        first = labels - self.weights.shape[1]
        self.models = [
            LogisticRegression(C=C, solver="liblinear", dual=True, max_iter=200, random_state=0).fit(self._weighted(held, column), targets == first + column)
            for column in range(self.weights.shape[1])
        ]

    def logits(self, ids: Ragged) -> np.ndarray:
        """[rows, 1] (two labels) or [rows, labels]"""
        held = self._held(ids)
        return np.stack([model.decision_function(self._weighted(held, column)) for column, model in enumerate(self.models)], 1)

    def _held(self, ids: Ragged) -> sp.csr_matrix:
        """[rows, grams] 1 where a text holds an n-gram."""
        rows, keys = _grams(ids, self.vocab)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = self.keys[place] == keys
        held = sp.csr_matrix((np.ones(int(known.sum()), np.float32), (rows[known], place[known])), (len(ids), len(self.keys)))
        held.data[:] = 1  # what stands twice was summed
        return held

    def _weighted(self, held: sp.csr_matrix, column: int) -> sp.csr_matrix:
        weighted = (held @ sp.diags(self.weights[:, column])).tocsr()
        norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
        return (sp.diags(1 / np.maximum(norms, 1e-6)) @ weighted).tocsr().astype(np.float32)


def taught_linear(ids: Ragged, targets: np.ndarray, asked: Ragged, guessed: np.ndarray, labels: int, vocab: int) -> np.ndarray:
    """What linear models say that learn from guessed labels too: of texts whose guess they have not learnt, since they know those by heart.

    So words that no labelled text has get a weight. Of 5,910 reviews one that had learnt from 450 labels was right on 0.809, it and classifiers from a language model together on 0.890, and those that learnt from their guesses on 0.899 (docs/experiments.md).

    Args:
        ids, targets: with a label, one text at least of each.
        asked: texts to be asked of; the last ones, as many as `guessed`, are learnt from too.
        guessed: label indexes, one at least. labels, vocab: as of Linear.

    Returns:
        As Linear.logits: of the last texts by the model that has not learnt from them, of the first ones the mean of all, which is right a little more often than one (0.8992 against 0.8976).
    """
    checks, parts = len(asked) - len(guessed), min(PARTS, len(guessed))
    part = np.concatenate([np.full(checks, -1), np.random.default_rng(0).permutation(len(guessed)) % parts])
    found = np.zeros((len(asked), 1 if labels == 2 else labels))
    for held in range(parts):
        learnt, needed = np.flatnonzero((part >= 0) & (part != held)), np.flatnonzero((part < 0) | (part == held))
        model = Linear(ids.followed_by(_rows(asked, learnt)), np.concatenate([targets, guessed[learnt - checks]]), labels, vocab)
        found[needed] += model.logits(_rows(asked, needed))
    found[:checks] /= parts
    return found


def _rows(ids: Ragged, which: np.ndarray) -> Ragged:
    return ids.take(ids.offsets[which], ids.lengths[which])


def _grams(ids: Ragged, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and key of every n-gram, for all n up to LONGEST."""
    row = np.repeat(np.arange(len(ids)), ids.lengths)
    words = ids.values.astype(np.int64)
    rows, keys, key, below = [row], [words], words, np.int64(0)
    for n in range(2, LONGEST + 1):
        key = key[:-1] * vocab + words[n - 1 :]  # below vocab**3: 30,000 words take 45 of 63 bits
        below += np.int64(vocab) ** (n - 1)  # keys of fewer words come before
        within = row[n - 1 :] == row[: len(row) - n + 1]
        rows.append(row[n - 1 :][within])
        keys.append(key[within] + below)
    return np.concatenate(rows), np.concatenate(keys)
