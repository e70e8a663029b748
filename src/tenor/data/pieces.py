"""Characters or byte pairs that join to the very text again: what a model that generates reads and writes."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import tokenizers as hf

from tenor.config import TextConfig
from tenor.data.text import PAD, SPECIAL, UNK
from tenor.errors import TenorError

BREAK = 2  # between two texts
SPECIALS = [*SPECIAL, "<break>"]
# Merges are learnt from so many characters at most, evenly spread.
_BPE_CHARACTERS = 20_000_000
_LINES = 1000  # of a text that the trainer of byte pairs takes at once


class Pieces:
    """Text to ids and back. Wraps a `tokenizers.Tokenizer`, so that other programs read tokenizer.json too."""

    def __init__(self, inner: hf.Tokenizer) -> None:
        self.inner = inner
        self.characters = isinstance(inner.model, hf.models.WordLevel)
        self.names = _names(inner)
        if self.characters:
            codes = np.array([ord(name) for name in self.names[len(SPECIALS) :]], np.uint32)
            self._order = np.argsort(codes)
            self._codes = codes[self._order]

    @classmethod
    def train(cls, texts: Sequence[str], config: TextConfig) -> Pieces:
        """Choose characters or byte pairs from training texts.

        Raises:
            TenorError: words are asked for, or the texts have no character at all.
        """
        if config.tokens == "word":
            raise TenorError("Words do not join to the very text again, so a model that generates reads characters or byte pairs. Use --tokens char or --tokens bpe.")
        if config.tokens == "bpe":
            return cls(_train_bpe(texts, config.vocab))
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        if not counts:
            raise TenorError("The training texts hold no character at all. Choose the right column with --text.")
        by_count = sorted(counts.items(), key=lambda c: (-c[1], c[0]))  # the character decides ties: the same data, the same ids
        kept = [c for c, _ in by_count][: max(1, config.vocab - len(SPECIALS))]
        inner = hf.Tokenizer(hf.models.WordLevel({t: i for i, t in enumerate([*SPECIALS, *kept])}, unk_token="<unk>"))
        inner.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex(r"[\s\S]"), "isolated")
        inner.decoder = hf.decoders.Fuse()
        return cls(inner)

    def encode(self, text: str) -> np.ndarray:
        """[N] int32; a character that is not among the pieces is UNK."""
        if not self.characters:
            return np.array(self.inner.encode(_whole(text), add_special_tokens=False).ids, np.int32)
        codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
        if not len(codes):
            return np.zeros(0, np.int32)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._order[place] + len(SPECIALS), UNK).astype(np.int32)

    def joined(self, texts: Sequence[str]) -> np.ndarray:
        """[N] int32: all texts, one after another, a BREAK between two."""
        parts: list[np.ndarray] = []
        for text in texts:
            parts += [np.array([BREAK], np.int32)] * bool(parts) + [self.encode(text)]
        return np.concatenate([*parts, np.zeros(0, np.int32)])

    def unknown(self, text: str) -> list[str]:
        """Characters that the pieces lack, in the order of the text."""
        if not self.characters:
            return []
        known = set(self.names[len(SPECIALS) :])
        return [c for c in dict.fromkeys(text) if c not in known]

    def writer(self) -> Writer:
        """Ids to text, one after another."""
        return Writer(self)

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> str:
        return self.inner.to_str(pretty=False)

    @classmethod
    def from_json(cls, text: str) -> Pieces:
        """Raises TenorError if it is no tokenizer of ours."""
        try:
            json.loads(text)  # tokenizers raises a plain Exception; check what can be checked first
            inner = hf.Tokenizer.from_str(text)
        except Exception as error:
            raise TenorError(f"tokenizer.json cannot be read ({error}). Copy the model folder again.") from error
        names = _names(inner)
        characters = isinstance(inner.model, hf.models.WordLevel)
        if names[: len(SPECIALS)] != SPECIALS or (characters and any(len(name) != 1 for name in names[len(SPECIALS) :])):
            raise TenorError(f"tokenizer.json must begin with {', '.join(SPECIALS)}, and hold characters or byte pairs after them. Copy the model folder again.")
        return cls(inner)


class Writer:
    """A byte pair may end inside a character: what is not whole yet waits."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.bytes = {} if pieces.characters else _byte_of()

    def write(self, token: int) -> str:
        """The text that this token adds; nothing for the special ones."""
        if token in (PAD, UNK, BREAK):
            return ""
        name = self.pieces.names[token]
        return name if self.pieces.characters else self.decoder.decode(bytes(self.bytes[c] for c in name))

    def end(self) -> str:
        return self.decoder.decode(b"", True)


def _whole(text: str) -> str:
    """Half a surrogate pair, which JSON can spell, is no character and has no bytes: it becomes the mark for that."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _names(inner: hf.Tokenizer) -> list[str]:
    """By id; empty where there is a gap."""
    return [inner.id_to_token(i) or "" for i in range(inner.get_vocab_size())]


def _byte_of() -> dict[str, int]:
    """The byte that each character of the byte-level alphabet stands for (GPT-2's table: printable ones are themselves, others from 256 on)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def _train_bpe(texts: Sequence[str], vocab: int) -> hf.Tokenizer:
    """Byte-level BPE that keeps case and white space (Sennrich et al. 2016, arXiv 1508.07909v5; bytes as in GPT-2)."""
    inner = hf.Tokenizer(hf.models.BPE(unk_token=None))
    inner.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(vocab_size=vocab, special_tokens=SPECIALS, initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    step = max(1, round(sum(map(len, texts)) / _BPE_CHARACTERS))
    portions = [_whole("".join(lines[i : i + _LINES])) for text in texts for lines in [text.splitlines(keepends=True)] for i in range(0, len(lines), _LINES)]
    inner.train_from_iterator(portions[::step], trainer)
    # The trainer wants the specials as added tokens, and those are also found in texts: a text that spells <pad> is no <pad>.
    return hf.Tokenizer.from_str(json.dumps(json.loads(inner.to_str()) | {"added_tokens": []}))
