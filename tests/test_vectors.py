"""Word vectors: words of the same use are near, whatever has no neighbours is zero."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenor.config import TextConfig
from tenor.data.text import UNK, Ragged
from tenor.training.texts import Tokenised
from tenor.training.vectors import LEAST, SCALE, WINDOW, neighbour_counts, word_vectors


def nearness(vectors, a, b):
    return vectors[a] @ vectors[b] / (np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b]))


def test_words_with_the_same_neighbours_are_near_and_others_are_not():
    rng = np.random.default_rng(1)
    frames = {"food": ["tasty", "dish", "plate"], "film": ["actor", "scene", "plot"]}
    texts = []
    for _ in range(400):
        kind = rng.choice(list(frames))
        word = rng.choice(["soup", "stew"] if kind == "food" else ["drama", "comedy"])
        texts.append(" ".join([*rng.permutation(frames[kind]), word, *rng.permutation(frames[kind])]))
    tokens = Tokenised.of(texts, TextConfig())
    vectors = word_vectors(neighbour_counts(tokens.ids, len(tokens.tokenizer)), 4, seed=3)
    soup, stew, drama, comedy = (tokens.tokenizer.inner.token_to_id(w) for w in ("soup", "stew", "drama", "comedy"))
    assert nearness(vectors, soup, stew) > 0.9 < nearness(vectors, drama, comedy)
    assert max(nearness(vectors, a, b) for a in (soup, stew) for b in (drama, comedy)) < 0.5
    np.testing.assert_array_equal(vectors, word_vectors(neighbour_counts(tokens.ids, len(tokens.tokenizer)), 4, seed=3))
    assert not vectors[:2].any()  # <pad> and <unk>
    np.testing.assert_allclose(np.linalg.norm(vectors[soup]), SCALE * 2)


@pytest.mark.parametrize("texts", [["one"], ["one two"], ["a b c"] * 3, [""] * 3 + ["x y"]])
def test_few_words_give_vectors_of_the_asked_shape(texts):
    tokens = Tokenised.of(texts, TextConfig())
    vectors = word_vectors(neighbour_counts(tokens.ids, len(tokens.tokenizer)), 16, seed=0)
    assert vectors.shape == (len(tokens.tokenizer), 16) and np.isfinite(vectors).all()


def test_words_of_two_texts_are_no_neighbours():
    tokens = Tokenised.of(["left", "right"] * 50, TextConfig())
    assert not word_vectors(neighbour_counts(tokens.ids, len(tokens.tokenizer)), 2, seed=0).any()


@given(texts=st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=8), contexts=st.integers(1, 7))
def test_pairs_are_counted_within_the_window_of_one_text(texts, contexts):
    expected = np.zeros((7, contexts))
    for text in texts:
        for i, word in enumerate(text):
            for j, other in enumerate(text):
                if 0 < abs(i - j) <= WINDOW and word > UNK < other < contexts:
                    expected[word, other] += 1
    expected[expected < LEAST] = 0
    ids = Ragged(np.array([*chain(*texts)], np.int32), np.cumsum([0, *map(len, texts)]))
    np.testing.assert_array_equal(neighbour_counts(ids, 7, contexts).toarray(), expected)
