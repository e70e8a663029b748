"""Word vectors from the training texts themselves, in seconds: what the embedding starts from.

Words that stand among the same neighbours get near vectors, so that the network knows of a rare word what it learns of
its frequent relatives. Positive pointwise mutual information of words and their neighbours, factorised (Levy and
Goldberg 2014, "Neural word embedding as implicit matrix factorization"); the smoothing of the contexts (0.75) and the
square root of the singular values as in Levy, Goldberg and Dagan 2015, "Improving distributional similarity".
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from tenor.data.pairs import Pairs, log_ratios
from tenor.data.text import UNK, Ragged

WINDOW = 4  # neighbours on each side
CONTEXTS = 10_000  # the most frequent words serve as neighbours; ids are in the order of frequency
LEAST = 2  # pairs seen once are chance, and most of the matrix (33,258 film reviews: 4.8 of 7.7 million)
RATIO_SCALE = 0.5  # of the log-count ratios; 0.3 and 1 gave the same
SCALE = 0.25  # standard deviation of the vectors' numbers; the only one tried


def word_vectors(counts: sparse.csr_matrix, size: int, seed: int) -> np.ndarray:
    """[vocab, size] float32; <pad>, <unk> and words without a frequent neighbour are 0.

    Args:
        counts: [vocab, contexts] of `neighbour_counts`, of whole training texts.
        size: of a vector. seed: of the factorisation's random start.
    """
    vocab, contexts = counts.shape
    shared = np.zeros((vocab, size), np.float32)
    components = min(size, contexts - 1, vocab - 1)
    if components < 1 or counts.nnz == 0:
        return shared
    words = np.asarray(counts.sum(1)).ravel()
    neighbours = np.asarray(counts.sum(0)).ravel() ** 0.75
    pairs = counts.tocoo()
    information = np.log(pairs.data / (words[pairs.row] * (neighbours / neighbours.sum())[pairs.col]))
    kept = information > 0
    matrix = sparse.csr_matrix((information[kept].astype(np.float32), (pairs.row[kept], pairs.col[kept])), shape=counts.shape)
    left, strength, _ = randomized_svd(matrix, components, n_iter=2, random_state=seed)
    found = left * np.sqrt(strength)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    shared[:, :components] = np.where(lengths > 1e-6, found / np.maximum(lengths, 1e-6), 0) * (SCALE * components**0.5)
    return shared


def with_pairs(vectors: np.ndarray, pairs: Pairs, counts: np.ndarray) -> np.ndarray:
    """The embedding to start from where pairs of words are read too.

    A pair starts between its two words. And where there is room, the first numbers say what counting alone knows: the
    log-count ratios (0.9137 without them, 0.9163 with them after an epoch on film reviews, validation rows).

    Args:
        vectors: [vocab, size] of the words. pairs: what is read beside them. counts: [vocab + P, labels] occurrences.

    Returns:
        [vocab + P, size] float32
    """
    first, second = pairs.words
    out = np.concatenate([vectors, (vectors[first] + vectors[second]) / np.sqrt(2)]).astype(np.float32)
    ratio, _ = log_ratios(counts, counts.sum(0))
    if 4 * ratio.shape[1] <= out.shape[1]:
        out[UNK + 1 :, : ratio.shape[1]] = RATIO_SCALE * ratio[UNK + 1 :]
    return out


def neighbour_counts(ids: Ragged, vocab: int, contexts: int = CONTEXTS) -> sparse.csr_matrix:
    """[vocab, contexts or fewer] how often a word has another within WINDOW places of the same text, before or after it; LEAST times or 0."""
    contexts = min(contexts, vocab)
    kind = np.int32 if vocab * contexts < 2**31 else np.int64  # int32 sorts in half the time
    words, texts = ids.values.astype(kind), np.repeat(np.arange(len(ids), dtype=np.int32), ids.lengths)
    keys = []
    for distance in range(1, WINDOW + 1):
        one, other = words[:-distance], words[distance:]
        low = np.minimum(one, other)
        counted = (texts[:-distance] == texts[distance:]) & (low > UNK) & (low < contexts)
        keys.append((low * kind(vocab) + np.maximum(one, other))[counted])
    coded = np.sort(np.concatenate(keys))  # one sort: 1.9 s, where adding up eight sparse matrices took 4.2
    new = np.ones(len(coded), bool)
    np.not_equal(coded[1:], coded[:-1], out=new[1:])
    first = np.flatnonzero(new)
    low, high = np.divmod(coded[first], kind(vocab))
    times = np.diff(first, append=len(coded)).astype(np.float32)
    times[low == high] *= 2  # each is the other's neighbour
    often = times >= LEAST
    low, high, times = low[often], high[often], times[often]
    both = (high < contexts) & (low != high)
    rows, columns = np.concatenate([high, low[both]]), np.concatenate([low, high[both]])
    return sparse.csr_matrix((np.concatenate([times, times[both]]), (rows, columns)), shape=(vocab, contexts))
