"""Pairs of words that tell the labels apart: which are chosen, and how they are read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import fit, small
from tenor.data.pairs import Pairs, choose_pairs, counts_by_label, log_ratios
from tenor.data.text import UNK, Ragged
from tenor.errors import TenorError
from tenor.pipelines.classification import Pipeline
from tenor.training.vectors import with_pairs

VOCAB = 7
ROWS = st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=9), min_size=1, max_size=6)


def ragged(rows):
    return Ragged(np.array([i for r in rows for i in r], np.int32), np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64))


@given(ROWS, st.sets(st.tuples(st.integers(2, VOCAB - 1), st.integers(2, VOCAB - 1))))
def test_a_pair_is_read_after_its_second_word(rows, pairs):
    ordered = sorted(pairs)
    known = Pairs(np.array([a * VOCAB + b for a, b in ordered], np.int64), VOCAB)
    wanted = []
    for row in rows:
        out = []
        for i, word in enumerate(row):
            out.append(word)
            if i and (row[i - 1], word) in pairs:
                out.append(VOCAB + ordered.index((row[i - 1], word)))
        wanted.append(out)
    read = known.read(ragged(rows))
    assert [read[i].tolist() for i in range(len(read))] == wanted


@pytest.mark.parametrize("labels", [2, 3])
def test_the_surest_pairs_are_chosen_by_what_counting_gives(labels):
    rng = np.random.default_rng(4)
    targets = rng.integers(0, labels, 300)
    # Words 2 and 3 stand as often in every label; "2 3" stands in the last label alone, and so does "4 5", less often.
    texts = []
    for target in targets:
        words = rng.permutation([2, 3, 6, 6, 6]).tolist()
        if words.index(3) == words.index(2) + 1:
            words.reverse()
        if target == labels - 1:
            words += [6, 2, 3, 6] + [4, 5] * (rng.random() < 0.5)
        else:
            words += [6, 3, 2, 6] + [5, 4] * (rng.random() < 0.5)
        texts.append(words)
    ids = ragged(texts)
    all_pairs = choose_pairs(ids, targets, labels, VOCAB, 1000)
    two = choose_pairs(ids, targets, labels, VOCAB, 2)
    assert {2 * VOCAB + 3, 3 * VOCAB + 2, 4 * VOCAB + 5} <= set(all_pairs.keys.tolist())
    assert len(two.keys) == 2 and 2 * VOCAB + 3 in two.keys and set(two.keys) < set(all_pairs.keys)
    assert choose_pairs(ids, targets, labels, VOCAB, 0).keys.tolist() == []


@given(ROWS, st.data())
def test_counts_are_those_of_a_loop(rows, data):
    targets = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    counts = counts_by_label(ragged(rows), targets, 3, VOCAB)
    for word in range(VOCAB):
        for label in range(3):
            assert counts[word, label] == sum(r.count(word) for r, t in zip(rows, targets, strict=True) if t == label)


def test_ratio_is_the_logarithm_of_shares():
    ratio, sure = log_ratios(np.array([[3, 0], [1, 5], [6, 5]]), np.array([10, 10]))
    np.testing.assert_allclose(ratio[:, 0], [math.log((1 / 10) / (4 / 10)), math.log((6 / 10) / (2 / 10)), math.log((6 / 10) / (7 / 10))])
    assert sure[0] < 0 < sure[1]
    three, _ = log_ratios(np.array([[3, 0, 1], [1, 5, 1]]), np.array([4, 5, 2]))
    np.testing.assert_allclose(three[0], [math.log((4 / 4) / (2 / 7)), math.log((1 / 5) / (5 / 6)), math.log((2 / 2) / (4 / 9))])


def test_chance_and_rarity_do_not_tell():
    rng = np.random.default_rng(0)
    noise = [rng.integers(2, VOCAB, 20).tolist() for _ in range(2000)]
    assert not len(choose_pairs(ragged(noise), rng.integers(0, 2, 2000), 2, VOCAB, 1000).keys)
    rare = [[2, 3]] * 4 + [[5, 6]] * 400
    assert not len(choose_pairs(ragged(rare), np.array([1] * 4 + [0, 1] * 200), 2, VOCAB, 1000).keys)


def test_a_pair_starts_between_its_words_and_knows_its_ratio():
    vectors = np.random.default_rng(1).normal(size=(VOCAB, 8)).astype(np.float32)
    pairs = Pairs(np.array([2 * VOCAB + 5], np.int64), VOCAB)
    counts = np.random.default_rng(2).integers(0, 9, (VOCAB + 1, 2))
    start = with_pairs(vectors, pairs, counts)
    np.testing.assert_allclose(start[VOCAB, 1:], (vectors[2] + vectors[5])[1:] / math.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(start[:VOCAB, 1:], vectors[:, 1:])
    np.testing.assert_allclose(start[UNK + 1 :, 0], log_ratios(counts, counts.sum(0))[0][UNK + 1 :, 0] / 2, rtol=1e-6)
    np.testing.assert_array_equal(start[: UNK + 1], vectors[: UNK + 1])
    many = with_pairs(vectors, pairs, np.random.default_rng(2).integers(0, 9, (VOCAB + 1, 3)))  # no room for three ratios
    np.testing.assert_array_equal(many[:VOCAB], vectors)


@pytest.mark.parametrize("keys", [[3, 2], [2, 2], [-1, 4], [4, VOCAB**2], [[1, 2]]])
def test_what_are_no_pairs_is_an_error(keys):
    with pytest.raises(TenorError, match="Pairs of words must be ascending"):
        Pairs(np.array(keys, np.int64), VOCAB)


def test_a_classifier_that_reads_pairs_is_stored_and_read_again():
    """Label: whether "not" stands before "good" or elsewhere, which the pair alone says."""
    rng = np.random.default_rng(3)
    texts, targets = [], rng.integers(0, 2, 400)
    for target in targets:
        words = rng.choice(["food", "room", "book", "was", "so"], 8).tolist()
        texts.append(" ".join([*words[:4], *(["not", "good"] if target else ["good", "not"]), *words[4:]]))
    pipeline, _ = fit(["no", "yes"], texts[:300], targets[:300], [], targets[:0], small(pairs=20, epochs=5, learning_rate=1e-2, vectors=True))
    shares, lengths = pipeline.probabilities(texts[300:])
    assert (shares.argmax(1) == targets[300:]).mean() > 0.95 and set(lengths) == {10}
    assert pipeline.pairs is not None and 1 < len(pipeline.pairs.keys) <= 20
    stored = pipeline.stored({}, {}, [])
    np.testing.assert_array_equal(Pipeline.rebuilt(stored, precision="float32").probabilities(texts[300:])[0], shares)
    del stored.weights["pairs"]
    with pytest.raises(TenorError, match="pairs are among the weights"):
        Pipeline.rebuilt(stored)
