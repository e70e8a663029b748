"""What a tagger knows by name: words, characters, values of columns beside the words, tags; and sentences as its numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tenor.data.batches import pack
from tenor.data.spans import with_ends, without_ends
from tenor.data.tagged import Sentence
from tenor.data.text import SPECIAL, UNK, Ragged
from tenor.errors import TenorError

_DIGIT = re.compile(r"\d")


def folded(word: str) -> str:
    """As the word's own vector knows it: lower-case, digits as 0. Its characters are read as they are."""
    return _DIGIT.sub("0", word.lower())


@dataclass(frozen=True)
class Encoded:
    """Sentences as numbers. F distinct forms of words, N words in all, C columns beside them."""

    forms: Ragged  # of each sentence the forms of its words
    words: np.ndarray  # [F] each form's word
    spelling: Ragged  # each form's characters
    beside: np.ndarray  # [C, N] values
    tags: np.ndarray  # [N]

    def __len__(self) -> int:
        return len(self.forms)


class TagBatch(NamedTuple):
    """Sentences side by side, packed: time-major, the longest first."""

    words: Tensor  # [N] int64
    spelling: PackedSequence  # characters of the distinct forms, packed likewise
    forms: Tensor  # [N] int64, the place of each word's form there
    beside: Tensor  # [C, N] int64
    tags: Tensor  # [N] int64
    sizes: Tensor  # [T] int64, on the CPU
    rows: np.ndarray  # [B] the sentence at each place
    places: np.ndarray  # [N] each word's place in the arrays of Encoded


@dataclass(frozen=True)
class Lexicon:
    """Names in the order of their numbers; of words, characters and columns 0 is <pad> and 1 <unk>."""

    words: list[str]  # folded, the most frequent first
    once: int  # from this number on, words that occurred once in training
    characters: list[str]
    beside: dict[str, list[str]]  # by column
    tags: list[str]
    ends: bool = False  # the tags are of IOB2, and are learnt as BIOES: where a span ends is told apart too (Ratinov and Roth 2009)

    @cached_property
    def marks(self) -> list[str]:
        """The tags that the network tells apart, in the order of their numbers."""
        return [mark for tag in self.tags for mark in self._marks_of(tag)]

    @property
    def tag_of_mark(self) -> list[int]:
        """[marks] the number of the tag that each stands for."""
        return [number for number, tag in enumerate(self.tags) for _ in self._marks_of(tag)]

    def _marks_of(self, tag: str) -> list[str]:
        return [tag, {"B": "S", "I": "E"}[tag[0]] + tag[1:]] if self.ends and tag != "O" else [tag]

    @classmethod
    def of(cls, train: Sequence[Sentence], tags: Sequence[str], beside: Sequence[str], vocab: int, ends: bool = False) -> Lexicon:
        """Words, characters and values of the training sentences; `tags` and `ends` as they are given."""
        words = _by_count([folded(w) for s in train for w in s.words])
        kept = [w for w, _ in words if w not in SPECIAL][: vocab - len(SPECIAL)]
        counts = dict(words)
        once = len(SPECIAL) + sum(counts[w] > 1 for w in kept)
        characters = [c for c, n in _by_count([c for s in train for w in s.words for c in w]) if n > 1]
        values = {name: [*SPECIAL, *(v for v, _ in _by_count([v for s in train for v in s.beside[i]]) if v not in SPECIAL)] for i, name in enumerate(beside)}
        return cls([*SPECIAL, *kept], once, [*SPECIAL, *characters], values, list(tags), ends)

    def encode(self, sentences: Sequence[Sentence]) -> Encoded:
        """Words that it does not know are <unk>, and so are values; a sentence without tags gets the first one, and tags must be known ones."""
        words, characters, tags = ({x: i for i, x in enumerate(names)} for names in (self.words, self.characters, self.marks))
        index: dict[str, int] = {}
        forms = [index.setdefault(w, len(index)) for s in sentences for w in s.words]
        spelling = [[characters.get(c, UNK) for c in form] for form in index]
        offsets = np.concatenate([[0], np.cumsum([len(s.words) for s in sentences], dtype=np.int64)])
        beside = np.empty((len(self.beside), len(forms)), np.int64)
        for i, values in enumerate(self.beside.values()):
            numbers = {x: n for n, x in enumerate(values)}
            beside[i] = [numbers.get(v, UNK) for s in sentences for v in (s.beside[i] if s.beside else ["<unk>"] * len(s.words))]
        return Encoded(
            Ragged(np.array(forms, np.int32), offsets),
            np.array([words.get(folded(form), UNK) for form in index], np.int64),
            Ragged(np.array([c for s in spelling for c in s], np.int32), np.concatenate([[0], np.cumsum([len(s) for s in spelling], dtype=np.int64)])),
            beside,
            np.array([tags[t] for s in sentences for t in (self._marked(s.tags) or self.tags[:1] * len(s.words))], np.int64),
        )

    def said(self, numbers: np.ndarray) -> list[str]:
        """[n] numbers of marks -> a sentence's tags."""
        marks = [self.marks[i] for i in numbers]
        return without_ends(marks) if self.ends else marks

    def _marked(self, tags: Sequence[str]) -> Sequence[str]:
        return with_ends(tags) if self.ends else tags

    def to_json(self) -> str:
        kept = {"words": self.words, "once": self.once, "characters": self.characters, "beside": self.beside, "tags": self.tags}
        return json.dumps(kept | ({"ends": True} if self.ends else {}), ensure_ascii=False)  # without ends it reads as it did before there were any

    @classmethod
    def from_json(cls, text: str) -> Lexicon:
        """Raises TenorError if it is none."""
        try:
            found = cls(**json.loads(text))
            lists = [found.words, found.characters, *found.beside.values()]
            sound = all(names[:2] == SPECIAL for names in lists) and all(isinstance(x, str) for names in (*lists, found.tags) for x in names)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise TenorError(f"tokenizer.json holds no lexicon of a tagger ({error}). Copy the model folder again.") from error
        if not sound or not isinstance(found.once, int) or len(found.tags) < 2:
            raise TenorError("tokenizer.json holds no lexicon of a tagger: names must be texts and begin with <pad> and <unk>. Copy the model folder again.")
        if not isinstance(found.ends, bool) or (found.ends and not all(t == "O" or t[:2] in ("B-", "I-") for t in found.tags)):
            raise TenorError("tokenizer.json holds no lexicon of a tagger: only tags of IOB2 have ends that are told apart. Copy the model folder again.")
        return found


def batch_of(data: Encoded, rows: np.ndarray) -> TagBatch:
    """Sentences `rows`, none of them empty, as one batch."""
    lengths = data.forms.lengths[rows]
    order = np.argsort(-lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    live = np.arange(lengths[0])[:, None] < lengths[None, :]  # [T, B]
    places = (data.forms.offsets[rows][None, :] + np.arange(lengths[0])[:, None])[live]
    found, which = np.unique(data.forms.values[places], return_inverse=True)
    spelling = pack(data.spelling, found)
    at = np.empty(len(found), np.int64)
    at[np.searchsorted(found, spelling.rows)] = np.arange(len(found))
    return TagBatch(
        torch.from_numpy(data.words[found][which]),
        spelling.tokens,
        torch.from_numpy(at[which]),
        torch.from_numpy(data.beside[:, places]),
        torch.from_numpy(data.tags[places]),
        torch.from_numpy(live.sum(1)),
        rows,
        places,
    )


def _by_count(names: Sequence[str]) -> list[tuple[str, int]]:
    """The name decides ties: the same data, the same numbers."""
    return sorted(Counter(names).items(), key=lambda c: (-c[1], c[0]))
