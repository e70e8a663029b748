"""What `tenor predict` answers: for each text a few named values, and a line for people; in the end what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from rich.markup import escape

from tenor.data.tables import Record, Table
from tenor.data.text import UNK, clean
from tenor.errors import plural
from tenor.pipelines.classification import Pipeline


class Answerer(Protocol):
    """A model, asked about texts. `columns` are the values of an answer that a table gets, in its order, with their types."""

    columns: Mapping[str, pa.DataType]

    def asked(self, values: Mapping[str, Any], column: str) -> Any:
        """What a row of a table asks, as `answers` takes it."""

    def answers(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
        """An answer a text (or what `asked` gave), its values by name."""

    def line(self, text: str, answer: Mapping[str, Any]) -> str:
        """An answer for people (rich's markup)."""

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        """An answer on one line for a pipe: its values, then the text, between tabs."""

    def totals(self) -> dict[str, Any]:
        """What all answers so far come to, for machines."""

    def summary(self) -> list[str]:
        """The same in sentences, warnings among them."""

    def warnings(self) -> list[str]:
        """What the user should know of the answers so far."""


@runtime_checkable
class ReadsFiles(Protocol):
    """An Answerer whose texts are names of files."""

    def table(self, source: Path, skip_bad: bool, given: str | None) -> Table:
        """The table of a file or folder; its names are told from the folder that it lies in. Raises TenorError if there is none."""

    def column(self, table: Table, given: str | None, sample: Sequence[Record]) -> str:
        """The column of names. Raises TenorError if there is none, or a file is not what it should be."""


def text_of(values: Mapping[str, Any], column: str) -> str:
    """A row's text."""
    value = values.get(column)
    return "" if value is None else str(value)


class AskedTexts:
    """Of an Answerer whose rows ask with the text in their column."""

    def asked(self, values: Mapping[str, Any], column: str) -> str:
        return text_of(values, column)


class Labels(AskedTexts):
    """Of a classifier: label, probability (of that label), probabilities, tokens, tokens_cut (those that were beyond its reach), words (tokens that are no marks), words_unknown (to its vocabulary), mostly_unknown (half of them or more)."""

    columns: Mapping[str, pa.DataType] = MappingProxyType({"label": pa.string(), "probability": pa.float64(), "tokens_cut": pa.int64(), "mostly_unknown": pa.bool_()})

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.marks = pipeline.tokenizer.marks()
        self.labels = {str(label): 0 for label in pipeline.labels}
        self.numbers = {"empty": 0, "tokens_cut": 0, "texts_cut": 0, "texts_unknown": 0}

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        pipeline = self.pipeline
        ids = pipeline.tokenizer.encode([clean(t) for t in texts])
        shares = pipeline.probabilities_of(ids)
        words, unknown = (np.diff(np.concatenate(([0], np.cumsum(which)))[ids.offsets]) for which in (~self.marks[ids.values], ids.values == UNK))
        answers = [
            {
                "label": pipeline.labels[best],
                "probability": float(share[best]),
                "probabilities": dict(zip(map(str, pipeline.labels), map(float, share), strict=True)),
                "tokens": int(n),
                "tokens_cut": max(0, int(n) - pipeline.max_tokens),
                "words": int(w),
                "words_unknown": int(k),
                "mostly_unknown": bool(2 * k >= w > 0),  # for the model of the box 98 % of multi30k's German sentences, and one of 32,014 English ones
            }
            for best, share, n, w, k in zip(shares.argmax(1), shares, ids.lengths, words, unknown, strict=True)
        ]
        for answer in answers:
            self.labels[str(answer["label"])] += 1
            self.numbers["empty"] += not answer["words"]
            self.numbers["tokens_cut"] += answer["tokens_cut"]
            self.numbers["texts_cut"] += answer["tokens_cut"] > 0
            self.numbers["texts_unknown"] += answer["mostly_unknown"]
        return answers

    def line(self, text: str, answer: Mapping[str, Any]) -> str:
        told = []
        if not answer["words"]:
            told.append("a text of no words")
        if answer["tokens_cut"]:
            told.append(f"{plural(answer['tokens_cut'], 'token')} cut")
        if answer["mostly_unknown"]:
            told.append(f"{answer['words_unknown']:,} of {plural(answer['words'], 'word')} unknown")
        beside = f"  ({', '.join(told)})" if told else ""
        return f"[bold]{escape(str(answer['label']))}[/bold]  {answer['probability']:.3f}  {escape(text[:200])}{beside}"

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"{answer['label']}\t{answer['probability']:.4f}\t{text}"

    def totals(self) -> dict[str, Any]:
        return {"labels": dict(self.labels), **self.numbers}

    def summary(self) -> list[str]:
        cut = f"{plural(self.numbers['texts_cut'], 'text')} cut, by {plural(self.numbers['tokens_cut'], 'token')}."
        return [", ".join(f"{n:,} {label}" for label, n in self.labels.items()) + ".", *([cut] if self.numbers["texts_cut"] else []), *self.warnings()]

    def warnings(self) -> list[str]:
        empty, strange = self.numbers["empty"], self.numbers["texts_unknown"]
        found = [f"{plural(empty, 'text')} without words, answered with what holds for a text of no words."] if empty else []
        return found + ([f"{plural(strange, 'text')} with half of the words or more unknown to the model (another language?): such answers say little."] if strange else [])
