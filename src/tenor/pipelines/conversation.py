"""Pieces and network together: a prompt in, a reply out. What a model folder of the task chat rebuilds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tenor.config import Device, ReadingPrecision
from tenor.data.aligned import Pair
from tenor.data.batches import by_length, pack
from tenor.data.pieces import BREAK
from tenor.data.text import Ragged
from tenor.errors import TenorError
from tenor.models.chat import distinct, replied
from tenor.models.generate import Sampling
from tenor.pipelines.translation import SENTENCES, Translation
from tenor.store import Stored

DRAWN = Sampling(temperature=0.8, top_p=0.9)


class Conversation(Translation):
    """A translator that was trained on prompts and replies. `counts` [V]: how often each token, the end included, stood in the replies that it learnt from."""

    task = "chat"
    counts: np.ndarray

    def stream(self, prompt: str, sampling: Sampling = DRAWN) -> Iterator[str]:
        """The reply as it comes, a piece at a time, at most `max_tokens` of them.

        Raises:
            TenorError: the prompt is empty.
        """
        ids, _, lengths = self._read([prompt])
        if not lengths[0]:
            raise TenorError("A prompt of at least one word is needed; this one is empty.")
        return self._streamed(ids, sampling)

    def _streamed(self, ids: Ragged, sampling: Sampling) -> Iterator[str]:
        begun = False
        for number, tokens in enumerate(replied(self.network, pack(ids, np.arange(1)).tokens, sampling)):
            if tokens[0] == BREAK or number == self.text.max_tokens:
                return
            piece = self.target.piece(int(tokens[0]))
            yield piece if begun else piece.lstrip()
            begun = True

    def replies(self, prompts: Sequence[str], sampling: Sampling = DRAWN) -> list[str]:
        """One each, made side by side, the same as by itself; an empty one for an empty prompt."""
        ids, _, lengths = self._read(prompts)
        some, out = np.flatnonzero(lengths), [""] * len(prompts)
        for chosen in by_length(lengths[some], SENTENCES):
            batch = pack(ids, some[chosen])
            written: list[list[int]] = [[] for _ in chosen]
            open_ = set(range(len(chosen)))
            for tokens in replied(self.network, batch.tokens, sampling):
                open_ -= {row for row in open_ if tokens[row] == BREAK or len(written[row]) == self.text.max_tokens}
                for row in open_:
                    written[row].append(int(tokens[row]))
                if not open_:
                    break
            for row, said in zip(batch.rows.tolist(), written, strict=True):
                out[row] = self.target.decode(said)
        return out

    def measure(self, pairs: Sequence[Pair]) -> dict[str, Any]:  # type: ignore[override]
        """How well replies are foretold, and how different its own are.

        Returns:
            pairs, perplexity (of the replies' tokens, their ends included), unigram_perplexity (of a model that knows nothing but how frequent tokens were in training),
            distinct_1 and distinct_2 (of one reply to each prompt).

        Raises:
            TenorError: no pair.
        """
        if not pairs:
            raise TenorError("There is no pair to measure replies by. Choose the columns with --text and --label.")
        ids = self._targets(pairs)
        shares = np.log((self.counts + 1) / (self.counts + 1).sum())
        total = shares[ids.values].sum() + shares[BREAK] * len(ids)
        one, two = distinct(self.replies([p.source for p in pairs]))
        unigram = math.exp(min(700.0, -float(total) / (len(ids.values) + len(ids))))
        return {"pairs": len(pairs), "perplexity": self.perplexity(pairs), "unigram_perplexity": unigram, "distinct_1": one, "distinct_2": two}

    def count(self, pairs: Sequence[Pair]) -> None:
        """Take the counts of tokens from training pairs."""
        ids = self._targets(pairs)
        self.counts = np.bincount(ids.values, minlength=len(self.target))
        self.counts[BREAK] += len(ids)

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        return super().stored(more | {"counts": self.counts.tolist()}, metrics, history)

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Conversation:
        """Raises TenorError: as Translation.rebuilt, or the counts of tokens are not there."""
        made: Conversation = super().rebuilt(stored, device, precision)  # type: ignore[assignment]
        counts = stored.config.get("counts")
        if not isinstance(counts, list) or len(counts) != len(made.target):
            raise TenorError("config.json of a model that chats has a count for each token in `counts`. Copy the model folder again.")
        made.counts = np.array(counts, np.int64)
        return made
