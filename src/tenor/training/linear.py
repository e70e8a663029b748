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
