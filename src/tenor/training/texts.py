"""Texts as a training takes them: as the ids of a tokenizer, and with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenor.config import TextConfig
from tenor.data.text import Chunks, Ragged, Tokenizer


@dataclass(frozen=True)
class Tokenised:
    """Training texts as ids, uncut, and the tokenizer that was chosen on them."""

    tokenizer: Tokenizer
    ids: Ragged

    @classmethod
    def of(cls, texts: Sequence[str], config: TextConfig, tokenizer: Tokenizer | None = None) -> Tokenised:
        """With a tokenizer that there is already, or a new one."""
        chunks = Chunks.of(texts)
        tokenizer = tokenizer or Tokenizer.train(chunks, config)
        return cls(tokenizer, tokenizer.encode_chunks(chunks))

    def counts(self, limit: int) -> dict[str, int]:
        """tokens, median and greatest length of a text, and what a limit cuts: tokens_cut, texts_cut."""
        lengths = self.ids.lengths
        lost = np.maximum(lengths - limit, 0)
        sizes = {"median_length": int(np.median(lengths)), "greatest_length": int(lengths.max(initial=0))}
        return {"tokens": int(lengths.sum()), **sizes, "tokens_cut": int(lost.sum()), "texts_cut": int((lost > 0).sum())}


@dataclass(frozen=True)
class Labelled:
    """What a classifier learns from and is chosen on.

    Attributes:
        labels: names in the model's order.
        texts, validation_texts: cleaned. tokens: of the first.
        targets, validation_targets: [rows] int64 label indexes.
    """

    labels: Sequence[Any]
    texts: Sequence[str]
    tokens: Tokenised
    targets: np.ndarray
    validation_texts: Sequence[str]
    validation_targets: np.ndarray
