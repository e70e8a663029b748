import json
import random
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenor.config import TextConfig
from tenor.data.text import PAD, UNK, Chunks, Ragged, Tokenizer, clean, cut
from tenor.errors import TenorError

ROWS = st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=6)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array([*chain(*rows)], np.int32), np.cumsum([0, *map(len, rows)]))


def lists(rows: Ragged) -> list[list[int]]:
    return [rows[i].tolist() for i in range(len(rows))]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Great.<br /><br />Really", "Great. Really"),
        ('<p class="x">a</p><A HREF="y">b</A>', "a b"),
        ("I <3 this", "I <3 this"),
        ("1 < 2 and 3 > 2, a<b", "1 < 2 and 3 > 2, a<b"),
        ("Tom &amp; Jerry&nbsp;&quot;&#39;&#x27;&eacute;", "Tom & Jerry \"''é"),
        (" \t a\n\u00a0\u3000b\r\n ", "a b"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),  # Python refuses to make a number of so many digits
        ("half a pair \ud83d", "half a pair ?"),  # as JSON can hold and no encoding can
        ("", ""),
    ],
)
def test_clean(text, cleaned):
    assert clean(text) == cleaned


@given(rows=ROWS, data=st.data())
def test_take(rows, data):
    values = [*chain(*rows)]
    wanted = data.draw(st.lists(st.integers(0, len(values)).flatmap(lambda s: st.tuples(st.just(s), st.integers(0, len(values) - s)))))
    taken = ragged(rows).take(np.array([s for s, _ in wanted], np.int64), np.array([n for _, n in wanted], np.int64))
    assert lists(taken) == [values[s : s + n] for s, n in wanted]
    assert taken.lengths.tolist() == [n for _, n in wanted]


@given(rows=ROWS, limit=st.integers(1, 7), keep=st.sampled_from(["head", "tail", "ends"]))
def test_cut(rows, limit, keep):
    def one(row: list[int]) -> list[int]:
        if len(row) <= limit:
            return row
        if keep == "ends":  # of an odd limit the head has one more
            return row[: (limit + 1) // 2] + row[len(row) - limit // 2 :]
        return row[:limit] if keep == "head" else row[-limit:]

    assert lists(cut(ragged(rows), limit, keep)) == [one(r) for r in rows]


TRAINED = ["It's a don't-miss film, isn’t it?", "the film the room <pad>", "ÉTÉ été naïve 漢字 😀 12 a_b"] * 3
TOKENIZERS = {kind: Tokenizer.train(Chunks.of([clean(t) for t in TRAINED]), TextConfig(tokens=kind, vocab=300)) for kind in ("word", "bpe")}
KNOWN = ["film", "FILM", "don't", "isn’t", "it's", "'", "&lt;pad&gt;", "&lt;unk&gt;", "!?", "été", "E\u0301", "漢字", "😀", "12", "\u0130"]
PIECES = st.one_of(st.sampled_from(KNOWN), st.text(max_size=6))


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=150)
@given(texts=st.lists(st.lists(PIECES, max_size=8).map(" ".join), max_size=5))
def test_texts_at_once_are_encoded_as_each_alone(kind, texts):
    texts = [clean(t) for t in texts]
    for tokenizer in (TOKENIZERS[kind], Tokenizer.train(Chunks.of([*texts, "x"]), TextConfig(tokens=kind, vocab=300))):
        assert lists(tokenizer.encode(texts)) == [tokenizer.inner.encode(t).ids for t in texts]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_text_that_spells_a_special_token_is_text(kind):
    assert PAD not in TOKENIZERS[kind].encode(["a <pad> b <unk>"])[0]
    assert TOKENIZERS[kind].inner.id_to_token(PAD) == "<pad>" and TOKENIZERS[kind].inner.id_to_token(UNK) == "<unk>"


def test_words_are_lower_cased_with_their_apostrophes_and_marks_stand_alone():
    tokenizer = Tokenizer.train(Chunks.of(["Don't STOP, 'it’s' 5!"]), TextConfig())
    words = [tokenizer.inner.id_to_token(i) for i in tokenizer.encode(["don’t stop it's 5 !, never '"])[0]]
    assert words == ["don't", "stop", "it's", "5", "!", ",", "<unk>", "'"]


@given(
    texts=st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1).map(" ".join), min_size=1, max_size=6),
    vocab=st.integers(3, 10),
    seed=st.integers(0, 99),
)
def test_the_vocabulary_is_the_most_frequent_words_whatever_the_order_of_rows(texts, vocab, seed):
    counts = Counter(" ".join(texts).split())
    expected = ["<pad>", "<unk>", *sorted(counts, key=lambda w: (-counts[w], w))][:vocab]
    tokenizer = Tokenizer.train(Chunks.of(texts), TextConfig(vocab=vocab))
    assert [tokenizer.inner.id_to_token(i) for i in range(len(tokenizer))] == expected
    shuffled = random.Random(seed).sample(texts, len(texts))
    assert json.loads(Tokenizer.train(Chunks.of(shuffled), TextConfig(vocab=vocab)).to_json()) == json.loads(tokenizer.to_json())


def test_byte_pairs_are_the_same_each_time_and_have_no_unknown_text():
    again = Tokenizer.train(Chunks.of([clean(t) for t in TRAINED]), TextConfig(tokens="bpe", vocab=300))
    assert json.loads(again.to_json()) == json.loads(TOKENIZERS["bpe"].to_json())
    assert len(again) == 300
    text = "ein ganz neuer satz, 新しい 🎉"
    assert again.inner.decode(again.encode([text])[0].tolist()).strip() == text


def test_training_texts_without_a_word_are_refused():
    with pytest.raises(TenorError, match=r"no word at all.*--text"):
        Tokenizer.train(Chunks.of(["", " "]), TextConfig())


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_saved_tokenizer_encodes_the_same(kind):
    tokenizer = TOKENIZERS[kind]
    again = Tokenizer.from_json(tokenizer.to_json())
    assert lists(again.encode(TRAINED)) == lists(tokenizer.encode(TRAINED)) and len(again) == len(tokenizer)
    assert json.loads(again.to_json()) == json.loads(tokenizer.to_json())


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"version": "1.0", "model": 3}'])
def test_a_broken_tokenizer_is_refused(broken):
    with pytest.raises(TenorError, match=r"tokenizer\.json cannot be read.*Copy the model folder again"):
        Tokenizer.from_json(broken)


def test_a_tokenizer_with_other_first_entries_is_refused():
    foreign = json.loads(TOKENIZERS["word"].to_json())
    foreign["model"]["vocab"] |= {"<pad>": 1, "<unk>": 0}
    with pytest.raises(TenorError, match="must begin with <pad> and <unk>"):
        Tokenizer.from_json(json.dumps(foreign))
