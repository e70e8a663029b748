"""What the commands do with models that tag."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
from rich.markup import escape

from tenor.config import Device, ReadingPrecision
from tenor.data.datasets import Progress, resolve
from tenor.data.parts import is_test, part_of
from tenor.data.tagged import Sentence, Sentences, read_sentences, words_of
from tenor.errors import TenorError, plural
from tenor.jobs.kinds import Parts, TaskOrder, several
from tenor.pipelines.tagging import Tagging
from tenor.results.report import tagged_well, tagger_card
from tenor.store import Stored
from tenor.training.events import Events
from tenor.training.loop import Outcome
from tenor.training.presets import Preset
from tenor.training.presets_tag import tag_preset
from tenor.training.tag import divided, fit, in_spans, not_in_iob2


class TaggingWords:
    shown: Literal["accuracy", "loss"] = "accuracy"
    options: frozenset[str] = frozenset({"label", "one_way", "vocab", "embedding", "beside", "networks"})

    def preset(self, **changes: Any) -> Preset:
        return tag_preset(**changes)

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """Rows of the source's own test parts are read once, in the end; the validation rows are its own, or, where it has none or a wish is given, drawn from the others."""
        source = read_sentences(resolve(order.source, progress), order.text, order.label, order.preset.model.columns, order.skip_bad)
        test = [s for s in source.rows if is_test(s.part)]
        unseen = {tuple(s.words) for s in test}
        kept = [s for s in source.rows if not is_test(s.part) and tuple(s.words) not in unseen]
        twice = len(source.rows) - len(kept) - len(test)
        wish = order.preset.split.validation
        own = [s for s in kept if s.part == "validation"] if wish is None else []
        rest = [s for s in kept if s.part != "validation"] if own else kept
        if not rest:
            raise TenorError(f"No sentence of {source.name} is left to learn from: all are of the parts test and validation. Give some of part train.")
        train, aside = (rest, own) if own else divided(rest, wish, order.preset.train.seed)
        notes = [*source.notes, *([f"{plural(twice, 'sentence')} left out that {'stands' if twice == 1 else 'stand'} in part test too."] if twice else [])]
        whose = " (the data's own)" if own else ""
        beside = f", beside them {', '.join(source.columns[2:])}" if source.columns[2:] else ""
        notes.append(f"Words: column {source.columns[0]}{beside}; tags: column {source.columns[1]}.")
        notes.append(f"{len(train):,} training, {len(aside):,} validation{whose}, {plural(len(test), 'test sentence')}; {sum(len(s.words) for s in train):,} words to learn from.")
        if not aside and not test:
            notes.append("No sentence is kept aside, so nothing will tell how good the model is: --validation 0.1 keeps some, and so do rows of a part named test (a column split).")
        if in_spans([*train, *aside]):
            odd = not_in_iob2([*train, *aside])
            first = f": they are not of IOB2 in {plural(len(odd), 'sentence')}, the first of them at line {odd[0].line} of {source.name} (a span begins with a B there). If that is a mistake, mend it: chunks are found a little better with ends" if odd else ""
            notes.append(f"Tags mark spans, whose ends are {'not ' if odd else ''}told apart{first}.")
        tags = {t for s in train for t in s.tags}
        late = sorted({t for s in (*aside, *test) for t in s.tags} - tags)
        notes.append(f"{plural(len(tags), 'tag')} in training{f'; not among them, though in the others: {_listed(late)}' if late else ''}.")
        return Parts(train, aside, test, notes, {"train": len(train), "validation": len(aside), "test": len(test), "tags": len(tags)})

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Tagging, Outcome]:
        return fit(parts.train, parts.validation, preset, events, work)

    def results(self, made: Tagging, parts: Parts) -> dict[str, Any]:
        return {name: made.measure(rows) for name, rows in (("validation", parts.validation), ("test", parts.test)) if rows}

    def measured(self, found: Mapping[str, Any]) -> str:
        return tagged_well(found)

    def described(self, made: Tagging) -> list[str]:
        m, known = made.model, made.lexicon
        spelling = {"recurrent": f", spelling by {m.cell.upper()} {m.character_hidden}", "convolution": f", spelling by {m.character_hidden} filters", "none": ""}[m.spelling]
        both = "bidirectional " if m.bidirectional else ""
        beside = f"; beside them the column {', '.join(made.beside)}" if made.beside else ""
        return [
            f"{several(m.networks)}embedding {m.embedding}{spelling}, {m.layers} x {both}{m.cell.upper()} {m.hidden}, a chain over {len(known.marks)} {'marks of spans, ends included' if known.ends else 'tags'}",
            f"Words: {len(known.words):,} and {len(known.characters):,} characters known{beside}",
            f"Tags: {_listed(known.tags, 50)}",
        ]

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        return tagger_card(title, config, metrics, history)

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Tagging:
        return Tagging.rebuilt(stored, device, precision)

    def evaluate(self, source: str, made: Tagging, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:
        """The numbers of Tagging.measure on all sentences of a source (of a part: only these), with seconds and notes.

        Raises:
            TenorError: no sentence, or anything wrong with the files.
        """
        found = read_sentences(resolve(source, progress), text, label, made.beside, skip_bad)
        rows = _of_part(found, part)
        began = time.perf_counter()
        result = made.measure(rows)
        seconds = time.perf_counter() - began
        return result | {"seconds": round(seconds, 3), "words_per_second": round(result["words"] / seconds), "notes": [*found.notes, *result["notes"]]}

    def answerer(self, made: Tagging) -> Tags:
        return Tags(made)


KIND = TaggingWords()


class Tags:
    """Of a tagger, for `tenor predict`: a text is split at white space, and each word gets a tag."""

    columns: Mapping[str, pa.DataType] = MappingProxyType({"tags": pa.list_(pa.string())})

    def __init__(self, made: Tagging) -> None:
        self.made, self.words, self.empty, self.unread = made, 0, 0, 0

    def asked(self, values: Mapping[str, Any], column: str) -> Sentence:
        """Raises TenorError: what stands beside the words is there, and not for each of them."""
        words = words_of(values.get(column), "A row", column)
        beside = [words_of(values[name], "A row", name) for name in self.made.beside if name in values]
        wrong = next((name for name, other in zip(self.made.beside, beside, strict=False) if len(other) != len(words)), None)
        if wrong is not None:
            raise TenorError(f"What stands beside the words is one for each; the row {' '.join(words)[:60]!r} has another number in column {wrong}. Mend it.")
        return Sentence(words, [], tuple(beside) if len(beside) == len(self.made.beside) else ())

    def answers(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
        sentences = [t if isinstance(t, Sentence) else Sentence(t.split()) for t in texts]
        said = self.made.tags(sentences)
        self.words += sum(map(len, said))
        self.empty += sum(not tags for tags in said)
        self.unread += sum(not s.beside for s in sentences) if self.made.beside else 0
        return [{"words": s.words, "tags": tags} for s, tags in zip(sentences, said, strict=True)]

    def line(self, text: str, answer: Mapping[str, Any]) -> str:  # noqa: ARG002
        return "  ".join(f"{escape(word)} [bold]{escape(tag)}[/bold]" for word, tag in zip(answer["words"], answer["tags"], strict=True))

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"{' '.join(answer['tags'])}\t{text}"

    def totals(self) -> dict[str, Any]:
        return {"words": self.words, "empty": self.empty}

    def summary(self) -> list[str]:
        return [f"{plural(self.words, 'word')} tagged.", *self.warnings()]

    def warnings(self) -> list[str]:
        out = [f"{plural(self.empty, 'sentence')} without words, answered with no tags."] if self.empty else []
        if self.unread:
            out.append(f"This model also reads the column {', '.join(self.made.beside)}; {plural(self.unread, 'sentence')} came without it, and the tags are less sure there.")
        return out


def _of_part(found: Sentences, part: str | None) -> list[Sentence]:
    rows = [s for s in found.rows if part is None or s.part == part_of(part)]
    if not rows:
        there = ", ".join(sorted({s.part for s in found.rows if s.part}))
        has = f"its parts are {there}" if there else "it has no parts of its own (a column named split)"
        raise TenorError(f"No sentence of {found.name} is of part {part}; {has}. Leave --part out to take all rows.")
    return rows


def _listed(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
