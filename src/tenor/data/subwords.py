"""Words cut into byte-pair pieces that keep case and join to the text again: what a model that translates reads and writes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers as hf

from tenor.data.pieces import SPECIALS
from tenor.data.text import UNK, Chunks, Ragged, clean
from tenor.errors import TenorError

_SPACE = "▁"  # stands in front of a word that has a space before it
_WORD = rf"{_SPACE}?[\p{{L}}\p{{M}}\p{{N}}]+|{_SPACE}?[^\s\p{{L}}\p{{M}}\p{{N}}{_SPACE}]|{_SPACE}"
# Merges are learnt from so many characters at most, evenly spread.
_BPE_CHARACTERS = 20_000_000


class Subwords:
    """Texts to ids and back. A word with a character that never occurred in training is one <unk>, to be copied whole. Wraps a `tokenizers.Tokenizer`."""

    def __init__(self, inner: hf.Tokenizer) -> None:
        self.inner = inner
        self.names = [inner.id_to_token(i) or "" for i in range(inner.get_vocab_size())]
        self.ids = {name: i for i, name in enumerate(self.names)}
        merges = json.loads(inner.to_str())["model"]["merges"]
        self._ranks = {(a, b): rank for rank, (a, b) in enumerate(merges)}

    @classmethod
    def train(cls, texts: Sequence[str], vocab: int) -> Subwords:
        """Choose pieces from training texts (byte-pair encoding on characters; Sennrich et al. 2016, arXiv 1508.07909v5).

        Raises:
            TenorError: the texts have no character at all.
        """
        if not any(map(str.strip, texts)):
            raise TenorError("The training texts hold no word at all. Choose the right columns with --text and --label.")
        inner = hf.Tokenizer(hf.models.BPE(unk_token="<unk>"))
        inner.normalizer = hf.normalizers.NFC()
        inner.pre_tokenizer = hf.pre_tokenizers.Sequence([hf.pre_tokenizers.Metaspace(_SPACE), hf.pre_tokenizers.Split(hf.Regex(_WORD), "removed", invert=True)])
        inner.decoder = hf.decoders.Metaspace(_SPACE)
        # The most frequent characters are pieces, half of the vocabulary and 1,000 at most: what has another one is copied. What is merged occurs twice at least.
        trainer = hf.trainers.BpeTrainer(vocab_size=vocab, min_frequency=2, limit_alphabet=max(1, min(1000, vocab // 2)), special_tokens=SPECIALS, show_progress=False)
        step = max(1, round(sum(map(len, texts)) / _BPE_CHARACTERS))
        inner.train_from_iterator(texts[::step], trainer)
        # The trainer wants the specials as added tokens, and those are also found in texts: a text that spells <pad> is no <pad>.
        return cls(hf.Tokenizer.from_str(json.dumps(json.loads(inner.to_str()) | {"added_tokens": []})))

    def words(self, texts: Sequence[str]) -> Chunks:
        """The words and marks of each text, those after a space with its sign in front; texts are cleaned (data.text.clean)."""
        rough = Chunks.of([clean(t) for t in texts])
        normal, split = self.inner.normalizer.normalize_str, self.inner.pre_tokenizer.pre_tokenize_str
        parted = [" ".join(word for word, _ in split(normal(piece))) for piece in rough.distinct]
        words = Chunks.split(pc.split_pattern(pa.array(parted, pa.large_string()), " "))
        index = words.index.take(words.index.offsets[rough.index.values], words.index.lengths[rough.index.values])
        return Chunks(words.distinct, Ragged(index.values, index.offsets[rough.index.offsets]))

    def spell(self, words: Sequence[str], share: float = 0.0, variants: int = 1, seed: int = 0) -> Ragged:
        """Ids of each word: row `w * variants + v` is variant v of word w.

        share: chance that a merge is passed over, each time it could be made (BPE-dropout; Provilkov et al. 2020, arXiv 1910.13267v2), so that variants differ.
        """
        chance = random.Random(seed)
        rows = [self._spelled(word, share, chance) for word in words for _ in range(variants)]
        offsets = np.concatenate([[0], np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)))])
        return Ragged(np.fromiter((i for row in rows for i in row), np.int32, int(offsets[-1])), offsets)

    def encode(self, texts: Sequence[str]) -> tuple[Ragged, Chunks]:
        """Ids of each text, and its words."""
        words = self.words(texts)
        return gathered(self.spell(words.distinct), words, words.index.values), words

    def decode(self, ids: Sequence[int], copies: Sequence[str] = ()) -> str:
        """Ids to a text; the i-th <unk> is the i-th of `copies` (words as `words` has them), if there are so many."""
        left, parts = list(copies)[::-1], []
        for i in ids:
            parts.append(left.pop() if i == UNK and left else self.names[i] if i >= len(SPECIALS) else "")
        return "".join(parts).replace(_SPACE, " ").strip()

    def piece(self, i: int) -> str:
        """The text of one id, with the space before it; nothing for the special ones."""
        return self.names[i].replace(_SPACE, " ") if i >= len(SPECIALS) else ""

    def known(self, word: str) -> bool:
        return all(c in self.ids for c in word)

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> str:
        return self.inner.to_str(pretty=False)

    @classmethod
    def from_json(cls, text: str) -> Subwords:
        """Raises TenorError if it is no tokenizer of ours."""
        try:
            json.loads(text)  # tokenizers raises a plain Exception; check what can be checked first
            inner = hf.Tokenizer.from_str(text)
        except Exception as error:
            raise TenorError(f"tokenizer.json cannot be read ({error}). Copy the model folder again.") from error
        if [inner.id_to_token(i) for i in range(len(SPECIALS))] != SPECIALS or not isinstance(inner.model, hf.models.BPE):
            raise TenorError(f"tokenizer.json must hold byte pairs, {', '.join(SPECIALS)} first. Copy the model folder again.")
        return cls(inner)

    def _spelled(self, word: str, share: float, chance: random.Random) -> list[int]:
        """Merges in the order of their ranks, as `tokenizers` makes them; a merge that is passed over may still be made later."""
        if not self.known(word):
            return [UNK]
        parts = list(word)
        while len(parts) > 1:
            ranks = [(self._ranks.get(pair), i) for i, pair in enumerate(pairwise(parts))]
            possible = [(rank, i) for rank, i in ranks if rank is not None and (share == 0 or chance.random() >= share)]
            if not possible:
                break
            _, i = min(possible)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]


def gathered(pieces: Ragged, words: Chunks, rows: np.ndarray) -> Ragged:
    """The ids of texts: `rows` [all words of all texts] says which row of `pieces` spells each word."""
    found = pieces.take(pieces.offsets[rows], pieces.lengths[rows])
    return Ragged(found.values, found.offsets[words.index.offsets])
