"""Pieces and network together: texts in, their counterparts out. What a model folder of the task translate rebuilds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from tenor.cells.hardware import choose_device, choose_dtype
from tenor.config import Device, ModelConfig, ReadingPrecision, TextConfig, TranslateConfig, build, check
from tenor.data.aligned import Pair, facing
from tenor.data.batches import by_length, pack
from tenor.data.subwords import Subwords
from tenor.data.text import UNK, Chunks, Ragged, cut
from tenor.errors import TenorError
from tenor.models.translate import Found, Search, TextTranslator, agreement, found
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task

SENTENCES = 64  # searched side by side: 5 beginnings each are 320 rows a step


class Answer(NamedTuple):
    """text: the translation, empty of an empty text. score: its mean log-probability a token. tokens: of the source; tokens_cut: of them, beyond the limit and not read."""

    text: str
    score: float
    tokens: int
    tokens_cut: int


class Attention(NamedTuple):
    """source, target: pieces, the target's with its end. weights [target, source]: where was looked, each row adds up to 1."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Translation:
    """A translator ready for texts.

    Args:
        source, target: how a text becomes ids, and ids a text; the same object where one vocabulary serves both.
        text, model: settings.
        device, precision: where and how it computes.
        smoothing: of the loss, in training.
    """

    task = "translate"

    def __init__(
        self, source: Subwords, target: Subwords, text: TextConfig, model: TranslateConfig, device: Device = "auto", precision: ReadingPrecision = "auto", smoothing: float = 0.0
    ) -> None:
        self.source, self.target, self.text, self.model = source, target, text, model
        self.columns: tuple[str, str] | None = None  # that it learnt from, if a command trained it
        self.left_out = 0  # pairs that its training left out, since their target is longer than `max_tokens`
        if precision == "int8":
            raise TenorError("Precision int8 is for reading with a classifier; a model that translates has none. Use bfloat16 or float32.")
        where = choose_device(device)
        self.network = TextTranslator(len(source), len(target), model, choose_dtype(precision, where, ModelConfig(cell=model.cell, hidden=model.hidden)), smoothing).to(where)

    @property
    def path(self) -> str:
        return self.network.path

    def translate(self, texts: Sequence[str], search: Search = Search()) -> list[Answer]:  # noqa: B008 - frozen
        """Each text's counterpart. They are cleaned; longer ones are cut to `max_tokens`."""
        ids, words, lengths = self._read(texts)
        answers = [Answer("", 0.0, 0, 0)] * len(texts)
        for row, each in self._found(ids, search):
            answers[row] = Answer(self._written(each, ids[row], words, row), each.score, int(lengths[row]), max(0, int(lengths[row]) - self.text.max_tokens))
        return answers

    def attention(self, text: str, search: Search = Search()) -> tuple[str, Attention]:  # noqa: B008
        """The counterpart of a text, and where the network looked at each of its pieces.

        Raises:
            TenorError: the text is empty.
        """
        ids, words, _ = self._read([text])
        if not len(ids.values):
            raise TenorError("A text of at least one word is needed; this one is empty.")
        _, each = next(iter(self._found(ids, search)))
        copies = self._copies(each, ids[0], words, 0)[::-1]
        written = [copies.pop() if i == UNK and copies else self.target.names[i] for i in each.ids.tolist()]
        read = self._spelled(ids[0], words, 0)
        return self.target.decode(each.ids.tolist(), self._copies(each, ids[0], words, 0)), Attention(read, [*written, "<end>"], each.looked[:, : len(ids[0])])

    def measure(self, pairs: Sequence[Pair], search: Search = Search()) -> dict[str, Any]:  # noqa: B008
        """How good its translations are.

        Returns:
            pairs, bleu and chrf with their signatures, perplexity (of the references' pieces, their ends included), tokens_cut (of the sources).

        Raises:
            TenorError: no pair.
        """
        if not pairs:
            raise TenorError("There is no pair to measure translations by. Choose the columns with --text and --label.")
        answers = self.translate([p.source for p in pairs], search)
        numbers = {"perplexity": self.perplexity(pairs), "tokens_cut": sum(a.tokens_cut for a in answers)}
        return {"pairs": len(pairs)} | agreement([a.text for a in answers], [p.target for p in pairs]) | numbers

    def perplexity(self, pairs: Sequence[Pair]) -> float:
        """Of the tokens of the targets, their ends included."""
        sources, targets = self._read([p.source for p in pairs])[0], self._targets(pairs)
        total, tokens = 0.0, 0
        self.network.freeze()
        with torch.inference_mode():
            for rows in by_length(sources.lengths, SENTENCES):
                scores = self.network.scores(*facing(sources, targets, rows))
                total, tokens = total + float(scores.loss) * scores.rows, tokens + scores.rows
        return math.exp(min(700.0, total / tokens))

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": self.task, "text": asdict(self.text), "model": asdict(self.model)} | more
        pieces = self.source.to_json() if self.model.shared else json.dumps({"source": json.loads(self.source.to_json()), "target": json.loads(self.target.to_json())})
        return Stored(config, pieces, {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}, metrics, history)

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Weights by their names in the network's state dict."""
        self.network.load_state_dict(weights)
        self.network.eval()

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Translation:
        """Raises TenorError if the folder is of another task, or pieces, settings and weights do not fit each other."""
        config = stored.config
        check_task(config, cls.task)
        text, model = build(TextConfig, config.get("text", {})), build(TranslateConfig, config.get("model", {}))
        check(text, model)
        source, target = _pieces(stored.tokenizer, model.shared)
        fitted = fitting(lambda: TextTranslator(len(source), len(target), model), stored.weights)
        made = cls(source, target, text, model, device, precision)
        columns = list(config.get("columns") or [])
        made.columns = (str(columns[0]), str(columns[1])) if len(columns) == 2 and all(columns) else None
        made.take(fitted)
        return made

    def _read(self, texts: Sequence[str]) -> tuple[Ragged, Chunks, np.ndarray]:
        """Ids as they are read, the words, and [texts] lengths before cutting."""
        ids, words = self.source.encode(texts)
        return cut(ids, self.text.max_tokens, self.text.keep), words, ids.lengths

    def _targets(self, pairs: Sequence[Pair]) -> Ragged:
        return cut(self.target.encode([p.target for p in pairs])[0], self.text.max_tokens, "head")

    def _found(self, ids: Ragged, search: Search) -> list[tuple[int, Found]]:
        """Of each text that has a piece, its row and its translation."""
        lengths, out = ids.lengths, []
        some = np.flatnonzero(lengths)
        for chosen in by_length(lengths[some], SENTENCES):
            batch = pack(ids, some[chosen])
            limits = np.minimum(self.text.max_tokens, 2 * lengths[batch.rows] + 10)  # more than twice as long is a loop, not a translation
            tokens = batch.tokens._replace(data=batch.tokens.data.to(self.network.bias.device))
            out += list(zip(batch.rows.tolist(), found(self.network, tokens, search, limits), strict=True))
        return out

    def _written(self, each: Found, ids: np.ndarray, words: Chunks, row: int) -> str:
        return self.target.decode(each.ids.tolist(), self._copies(each, ids, words, row))

    def _copies(self, each: Found, ids: np.ndarray, words: Chunks, row: int) -> list[str]:
        """For each <unk> that was written, the unknown word of the source that was looked at most."""
        places = np.flatnonzero(ids == UNK)
        if not len(places):
            return []
        spelled = self._spelled(ids, words, row)
        return [spelled[places[each.looked[step, places].argmax()]] for step in np.flatnonzero(each.ids == UNK)]

    def _spelled(self, ids: np.ndarray, words: Chunks, row: int) -> list[str]:
        """The pieces of a source; an unknown word whole."""
        unknown = [w for i in words.index[row] if not self.source.known(w := words.distinct[i])]
        kept = iter(unknown[len(unknown) - int((ids == UNK).sum()) :] if self.text.keep == "tail" else unknown)
        return [next(kept) if i == UNK else self.source.names[i] for i in ids.tolist()]


def _pieces(tokenizer: str, shared: bool) -> tuple[Subwords, Subwords]:
    if shared:
        both = Subwords.from_json(tokenizer)
        return both, both
    try:
        sides = json.loads(tokenizer)
        source, target = json.dumps(sides["source"]), json.dumps(sides["target"])
    except (ValueError, TypeError, KeyError) as error:
        raise TenorError(f"tokenizer.json must hold two tokenizers, source and target ({error}). Copy the model folder again.") from error
    return Subwords.from_json(source), Subwords.from_json(target)
