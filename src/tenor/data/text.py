"""Texts to token ids: cleaning, words or byte-pair pieces, vocabulary, cutting."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers as hf

from tenor.config import TextConfig
from tenor.errors import TenorError

PAD, UNK = 0, 1
SPECIAL = ["<pad>", "<unk>"]

# A word with its inner apostrophes (don't), or a single mark.
_WORD = r"[\p{L}\p{N}\p{M}_]+(?:'\p{L}+)*|[^\s\p{L}\p{N}\p{M}_]"
# The same for ASCII alone, in RE2's syntax, whose \\s lacks \\v.
_ASCII_WORD = r"[a-z0-9_]+(?:'[a-z]+)*|[^\t\n\v\f\r a-z0-9_]"
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
# Byte-pair merges are learned from this many characters at most, rows evenly spread; more changes few merges.
_BPE_CHARACTERS = 20_000_000


def clean(text: str) -> str:
    """Text without HTML tags and entities, with single spaces; half a surrogate pair (JSON can hold one) becomes `?`."""
    text = _TAG.sub(" ", text)
    with suppress(ValueError):  # "&#" and more than 4,300 digits is no entity
        text = html.unescape(text)
    return " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length in one array: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray  # [N] int32
    offsets: np.ndarray  # [rows + 1] int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """[rows] int64"""
        return np.diff(self.offsets)

    def followed_by(self, other: Ragged) -> Ragged:
        return Ragged(np.concatenate([self.values, other.values]), np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]))

    def take(self, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Rows of `lengths`, each from a start in `values` (a row may be taken twice or never)."""
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(starts, lengths) + within], offsets)


def cut(ids: Ragged, limit: int, keep: str) -> Ragged:
    """Rows of at most `limit` tokens: the head, the tail, or both ends (a half each) of longer ones."""
    lengths = ids.lengths
    if keep == "tail":
        kept = np.minimum(lengths, limit)
        return ids.take(ids.offsets[1:] - kept, kept)
    if keep == "head":
        return ids.take(ids.offsets[:-1], np.minimum(lengths, limit))
    # Each row as two runs that touch where nothing is cut.
    head = np.minimum(lengths, limit - limit // 2)
    tail = np.minimum(lengths - head, limit // 2)
    runs = np.stack([head, tail], 1).ravel()
    starts = np.stack([ids.offsets[:-1], ids.offsets[1:] - tail], 1).ravel()
    pieces = ids.take(starts, runs)
    return Ragged(pieces.values, pieces.offsets[::2])


def chop(ids: Ragged, limit: int) -> Ragged:
    """Rows as pieces of nearly equal lengths, none above `limit`; together they hold every token once."""
    lengths = ids.lengths
    pieces = np.maximum(1, -(-lengths // limit))
    row = np.repeat(np.arange(len(ids)), pieces)
    place = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    edges = [(place + after) * lengths[row] // pieces[row] for after in (0, 1)]
    return ids.take(ids.offsets[row] + edges[0], edges[1] - edges[0])


@dataclass(frozen=True)
class Chunks:
    """Texts split at white space, each distinct piece kept once: text i is `distinct[index[offsets[i]:offsets[i + 1]]]`.

    A review of 230 words has few pieces of its own: tokenising each distinct piece once is what makes indexing fast
    (50,000 film reviews: 10 million pieces, 0.4 million distinct ones).
    """

    distinct: list[str]
    index: Ragged

    @classmethod
    def of(cls, texts: Sequence[str]) -> Chunks:
        return cls.split(pc.utf8_split_whitespace(pa.array(texts, pa.large_string())))

    @classmethod
    def split(cls, lists: pa.ListArray) -> Chunks:
        """From texts that are lists of pieces; an empty piece is none."""
        pieces = lists.flatten()
        some = pc.greater(pc.binary_length(pieces), 0)
        before = np.concatenate([[0], np.cumsum(some.to_numpy(zero_copy_only=False), dtype=np.int64)])
        coded = pc.dictionary_encode(pieces.filter(some))
        offsets = before[lists.offsets.to_numpy()]
        return cls(coded.dictionary.to_pylist(), Ragged(coded.indices.to_numpy(zero_copy_only=False), offsets))


class Tokenizer:
    """Lower-cased words (and marks) or byte-pair pieces to ids; 0 is <pad>, 1 is <unk>. Wraps a `tokenizers.Tokenizer`."""

    def __init__(self, inner: hf.Tokenizer) -> None:
        self.inner = inner

    @classmethod
    def train(cls, chunks: Chunks, config: TextConfig) -> Tokenizer:
        """Choose the vocabulary from training texts.

        Raises:
            TenorError: characters are asked for, or the texts have no token at all.
        """
        if config.tokens == "bpe":
            return cls(_train_bpe(chunks, config.vocab))
        if config.tokens == "char":
            raise TenorError("A classifier reads words or byte pairs, not characters. Use --tokens word or --tokens bpe.")
        inner = hf.Tokenizer(hf.models.WordLevel({t: i for i, t in enumerate(SPECIAL)}, unk_token="<unk>"))
        inner.normalizer = hf.normalizers.Sequence([hf.normalizers.Replace("’", "'"), hf.normalizers.Lowercase()])
        inner.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex(_WORD), "removed", invert=True)
        words = _split_words(chunks.distinct, inner)
        times = np.repeat(np.bincount(chunks.index.values, minlength=len(chunks.distinct)), words.index.lengths)
        counts = dict(zip(words.distinct, np.bincount(words.index.values, times, len(words.distinct)).astype(int).tolist(), strict=True))
        if not counts:
            raise TenorError("The training texts hold no word at all. Choose the right column with --text.")
        by_count = sorted(counts.items(), key=lambda c: (-c[1], c[0]))  # the name decides ties: the same data, the same ids
        kept = [w for w, _ in by_count if w not in SPECIAL][: config.vocab - len(SPECIAL)]
        inner.model = hf.models.WordLevel({t: i for i, t in enumerate([*SPECIAL, *kept])}, unk_token="<unk>")
        return cls(inner)

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Ids of each text, uncut."""
        return self.encode_chunks(Chunks.of(texts))

    def encode_chunks(self, chunks: Chunks) -> Ragged:
        if isinstance(self.inner.model, hf.models.WordLevel):
            words = _split_words(chunks.distinct, self.inner)
            numbers = [UNK if (i := self.inner.token_to_id(word)) is None else i for word in words.distinct]
            pieces = Ragged(np.array(numbers, np.int32)[words.index.values], words.index.offsets)
        else:
            lists = [e.ids for e in self.inner.encode_batch_fast(chunks.distinct, add_special_tokens=False)]
            offsets = np.concatenate([[0], np.cumsum(np.fromiter(map(len, lists), np.int64, len(lists)))])
            pieces = Ragged(np.fromiter(chain.from_iterable(lists), np.int32, int(offsets[-1])), offsets)
        index = chunks.index.values
        tokens = pieces.take(pieces.offsets[index], pieces.lengths[index])
        return Ragged(tokens.values, tokens.offsets[chunks.index.offsets])

    def marks(self) -> np.ndarray:
        """[len(self)] bool: which tokens have no letter and no digit; <unk> is taken for a word."""
        found = np.zeros(len(self), bool)
        for token, i in self.inner.get_vocab().items():
            found[i] = i != UNK and not any(c.isalnum() for c in token)
        return found

    def __len__(self) -> int:
        return self.inner.get_vocab_size()

    def to_json(self) -> str:
        return self.inner.to_str(pretty=False)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """Raises TenorError if it is no tokenizer of ours."""
        try:
            json.loads(text)  # tokenizers raises a plain Exception; check what can be checked first
            inner = hf.Tokenizer.from_str(text)
        except Exception as error:
            raise TenorError(f"tokenizer.json cannot be read ({error}). Copy the model folder again.") from error
        if [inner.id_to_token(i) for i in range(len(SPECIAL))] != SPECIAL:
            raise TenorError(f"tokenizer.json must begin with {' and '.join(SPECIAL)}. Copy the model folder again.")
        return cls(inner)


def _split_words(pieces: Sequence[str], inner: hf.Tokenizer) -> Chunks:
    """Pieces without white space -> their words, as the tokenizer's normalizer and pre-tokenizer give them.

    Arrow splits the pieces that are ASCII, nearly all of an English text, all at once (0.2 s against 4.5 for the training
    rows of the film reviews); the tokenizer itself the others.
    """
    given = pa.array(pieces, pa.large_string())
    others = pc.invert(pc.string_is_ascii(given))
    parted = pc.replace_substring_regex(pc.ascii_lower(given), _ASCII_WORD, r"\0 ")
    split = inner.pre_tokenizer.pre_tokenize_str
    by_tokenizer = ["".join(f"{word} " for word, _ in split(inner.normalizer.normalize_str(p))) for p in given.filter(others).to_pylist()]
    parted = pc.replace_with_mask(parted, others, pa.array(by_tokenizer, pa.large_string()))
    return Chunks.split(pc.split_pattern(parted, " "))


def _train_bpe(chunks: Chunks, vocab: int) -> hf.Tokenizer:
    """Byte-level BPE, lower-cased (Sennrich et al. 2016, arXiv 1508.07909v5; bytes as in GPT-2)."""
    inner = hf.Tokenizer(hf.models.BPE(unk_token=None))
    inner.normalizer = hf.normalizers.Lowercase()
    inner.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=SPECIAL, initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    inner.train_from_iterator(_evenly(chunks), trainer)
    # The trainer wants the specials as added tokens, and those are also found in texts: a text that spells <pad> is no <pad>.
    return hf.Tokenizer.from_str(json.dumps(json.loads(inner.to_str()) | {"added_tokens": []}))


def _evenly(chunks: Chunks) -> Iterable[str]:
    """Texts again, evenly spread rows, at most _BPE_CHARACTERS."""
    size = sum(map(len, chunks.distinct)) / max(1, len(chunks.distinct)) * len(chunks.index.values)
    step = max(1, round(size / _BPE_CHARACTERS))
    for row in range(0, len(chunks.index), step):
        yield " ".join(chunks.distinct[i] for i in chunks.index[row])
