"""What the commands do with models that translate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.markup import escape

from tenor.config import Device, ReadingPrecision
from tenor.data.aligned import Pair, Pairs, divided, read_pairs
from tenor.data.datasets import Progress, resolve
from tenor.errors import TenorError, plural
from tenor.jobs.answers import AskedTexts
from tenor.jobs.kinds import Parts, TaskOrder
from tenor.models.translate import Search
from tenor.pipelines.translation import Translation
from tenor.results.attention import picture
from tenor.results.report import left_out, translated, translator_card
from tenor.store import Stored
from tenor.training.events import Events
from tenor.training.loop import Outcome
from tenor.training.presets import Preset
from tenor.training.presets_translate import translate_preset
from tenor.training.translate import fit


class Translating:
    shown: Literal["accuracy", "loss"] = "accuracy"
    options: frozenset[str] = frozenset({"label", "vocab", "max_tokens", "embedding", "label_smoothing", "attention", "feeding", "separate"})

    def preset(self, **changes: Any) -> Preset:
        return translate_preset(**changes)

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """Rows of the source's own test parts are left out; its validation rows choose the epoch."""
        source = read_pairs(resolve(order.source, progress), order.text, order.label, order.skip_bad)
        train, aside, notes = divided(source.pairs, order.preset.split.validation, order.preset.train.seed)
        return Parts(train, aside, [], [*source.notes, *notes], {"train": len(train), "validation": len(aside)})

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Translation, Outcome]:
        return fit(parts.train, parts.validation, preset, events, work)

    def results(self, made: Translation, parts: Parts) -> dict[str, Any]:
        return results(made, parts)

    def measured(self, found: Mapping[str, Any]) -> str:
        return ". ".join([translated(dict(found)), *left_out(found)])

    def described(self, made: Translation) -> list[str]:
        return described(made)

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        return translator_card(title, config, metrics, history)

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Translation:
        return Translation.rebuilt(stored, device, precision)

    def evaluate(self, source: str, made: Translation, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:
        """The numbers of Translation.measure on all pairs of a source (of a part: only these), with seconds and notes; columns as in training, unless named.

        Raises:
            TenorError: no pair, no such part, or anything wrong with the files.
        """
        names = made.columns or (None, None)
        found = read_pairs(resolve(source, progress), text or names[0], label or names[1], skip_bad)
        pairs = of_part(found, part)
        began = time.perf_counter()
        result = made.measure(pairs)
        return result | {"seconds": round(time.perf_counter() - began, 3), "notes": found.notes}

    def answerer(self, made: Translation) -> Translations:
        return Translations(made)


KIND = Translating()


class Translations(AskedTexts):
    """Of a translator, for `tenor predict` and `tenor translate`."""

    def __init__(self, made: Translation, search: Search = Search()) -> None:  # noqa: B008 - frozen
        self.made, self.search = made, search
        self.columns = {"translation": pa.string(), "score": pa.float64(), "tokens_cut": pa.int64()}
        self.numbers = {"empty": 0, "tokens_cut": 0, "texts_cut": 0}

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        found = self.made.translate(texts, self.search)
        self.numbers["empty"] += sum(not a.tokens for a in found)
        self.numbers["tokens_cut"] += sum(a.tokens_cut for a in found)
        self.numbers["texts_cut"] += sum(a.tokens_cut > 0 for a in found)
        return [{"translation": a.text, "score": a.score, "tokens": a.tokens, "tokens_cut": a.tokens_cut} for a in found]

    def line(self, text: str, answer: Mapping[str, Any]) -> str:  # noqa: ARG002
        lost = f"  ({plural(answer['tokens_cut'], 'token')} cut)" if answer["tokens_cut"] else "" if answer["tokens"] else "(an empty text)"
        return f"[bold]{escape(answer['translation'])}[/bold]{lost}"

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:  # noqa: ARG002
        return str(answer["translation"])

    def totals(self) -> dict[str, Any]:
        return dict(self.numbers)

    def summary(self) -> list[str]:
        return self.warnings()

    def warnings(self) -> list[str]:
        empty, cut = self.numbers["empty"], self.numbers["texts_cut"]
        return [
            *([f"{plural(empty, 'text')} empty, and so the translation."] if empty else []),
            *([f"{plural(cut, 'text')} cut, by {plural(self.numbers['tokens_cut'], 'token')}."] if cut else []),
        ]


def results(made: Translation, parts: Parts) -> dict[str, Any]:
    """The validation's numbers, if it has pairs, and how many pairs the training left out."""
    left = {"left_out": made.left_out}
    return left | ({"validation": made.measure(parts.validation) | left} if parts.validation else {})


def of_part(found: Pairs, part: str | None) -> list[Pair]:
    """Raises TenorError if there is no pair of it."""
    pairs = [p for p in found.pairs if part is None or p.part == part]
    if not pairs:
        parts = ", ".join(sorted({p.part for p in found.pairs if p.part}))
        raise TenorError(f"No pair of {found.name} is of part {part}; {f'its parts are {parts}' if parts else 'it has no parts of its own'}. Leave --part out to take all pairs.")
    return pairs


def described(made: Translation) -> list[str]:
    """The network, and what it reads."""
    m = made.model
    cell, feeding = m.cell.upper(), ", input feeding" if m.feeding else ""
    pieces = f"{len(made.source):,} byte pairs for both sides" if m.shared else f"{len(made.source):,} and {len(made.target):,} byte pairs"
    return [
        f"embedding {m.embedding}, encoder {m.layers} x bidirectional {cell} {m.hidden // 2}, decoder {1 + m.layers} x {cell} {m.hidden}, {m.attention} attention{feeding}",
        f"Texts: {pieces}, at most {made.text.max_tokens} a text",
    ]


def explained(made: Translation, text: str, out: Path, search: Search) -> dict[str, Any]:
    """Draw where the network looked while it translated a text; -> translation, source, target (pieces), weights and picture.

    Raises:
        TenorError: the text is empty, or the picture's name ends in neither .svg nor .png.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise TenorError(f"The picture's name says its format, .svg or .png; got {out.name!r}.")
    translation, attention = made.attention(text, search)
    out.write_bytes(picture(attention, "svg" if kind == "svg" else "png"))
    return {"translation": translation, "source": attention.source, "target": attention.target, "weights": attention.weights.round(4).tolist(), "picture": str(out)}

