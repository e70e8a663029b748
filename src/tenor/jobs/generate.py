"""What the commands do with models that generate."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
from rich.markup import escape

from tenor.config import Device, ReadingPrecision
from tenor.data.datasets import Progress, resolve
from tenor.data.plain import read_plain_or_texts, validation_of_texts
from tenor.errors import TenorError, plural
from tenor.jobs.answers import AskedTexts
from tenor.jobs.kinds import Parts, TaskOrder
from tenor.models.generate import Sampling
from tenor.pipelines.generation import Generation
from tenor.results.report import foretold, generator_card
from tenor.store import Stored
from tenor.training.events import Events
from tenor.training.generate import fit
from tenor.training.loop import Outcome
from tenor.training.presets import Preset
from tenor.training.presets_generate import generate_preset


class Generating:
    shown: Literal["accuracy", "loss"] = "loss"
    options: frozenset[str] = frozenset({"tokens", "vocab", "max_tokens", "embedding"})

    def preset(self, **changes: Any) -> Preset:
        return generate_preset(**changes)

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """Rows of the source's own part "test" are left out."""
        source = read_plain_or_texts(resolve(order.source, progress), order.text, order.skip_bad)
        notes = list(source.notes)
        if source.test:
            notes.append(f"{plural(len(source.test), 'text')} of part test are left out, so that they stay unseen.")
        texts, aside = validation_of_texts(source.texts, order.preset.split.validation or 0.0, order.preset.train.seed)
        where = "its end" if len(source.texts) == 1 else f"{plural(len(aside), 'text')} of {len(source.texts):,}"
        kept = f", and {sum(map(len, aside)):,} to choose the epoch by ({where})" if aside else "; none is kept aside, so the last epoch is kept"
        characters = sum(map(len, texts))
        return Parts(texts, aside, [], [*notes, f"{characters:,} characters to learn from{kept}."], {"texts": len(texts), "characters": characters})

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Generation, Outcome]:
        return fit(parts.train, parts.validation, preset, events, work)

    def results(self, made: Generation, parts: Parts) -> dict[str, Any]:
        return {"validation": made.measure(parts.validation)} if parts.validation else {}

    def measured(self, found: Mapping[str, Any]) -> str:
        return foretold(found)

    def described(self, made: Generation) -> list[str]:
        m, pieces = made.model, made.pieces
        kind = "characters" if pieces.characters else "byte pairs"
        return [f"embedding {m.embedding}, {m.layers} x {m.cell.upper()} {m.hidden}", f"Texts: {kind}, {len(pieces):,} in the vocabulary"]

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        return generator_card(title, config, metrics, history)

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Generation:
        return Generation.rebuilt(stored, device, precision)

    def evaluate(self, source: str, made: Generation, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:  # noqa: ARG002
        """The numbers of Generation.measure on all texts of a source (of a part: only these), with seconds and notes.

        Raises:
            TenorError: no text, or anything wrong with the files.
        """
        found = read_plain_or_texts(resolve(source, progress), text, skip_bad)
        texts = {None: [*found.texts, *found.test], "train": found.texts, "test": found.test}.get(part, [])
        if not texts:
            raise TenorError(f"No text in {found.name}{f' is of part {part!r}' if part else ''}; evaluation needs at least one. Choose the column with --text.")
        began = time.perf_counter()
        result = made.measure(texts)
        notes = list(found.notes)
        if result["unknown"]:
            notes.append(f"{plural(result['unknown'], 'token')} never occurred in training and are not counted.")
        return result | {"seconds": round(time.perf_counter() - began, 3), "notes": notes}

    def answerer(self, made: Generation) -> Continuations:
        return Continuations(made)


KIND = Generating()


class Continuations(AskedTexts):
    """Of a generator, for `tenor predict`: each text is a prompt and its answer what may come after it, the same every time. `tenor generate` has the choices."""

    columns: Mapping[str, pa.DataType] = MappingProxyType({"generated": pa.string()})
    sampling = Sampling(temperature=0.8, seed=0)

    def __init__(self, made: Generation) -> None:
        self.made, self.characters = made, 0

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        answers = [{"generated": "".join(self.made.stream(text, 200, self.sampling))} for text in texts]
        self.characters += sum(len(a["generated"]) for a in answers)
        return answers

    def line(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"{escape(text)}[bold]{escape(answer['generated'])}[/bold]"

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        return "\t".join(t.replace("\n", "\\n").replace("\t", "\\t") for t in (answer["generated"], text))

    def totals(self) -> dict[str, Any]:
        return {"characters": self.characters}

    def summary(self) -> list[str]:
        return [f"{self.characters:,} characters were generated."]

    def warnings(self) -> list[str]:
        return []


def any_seed() -> int:
    return secrets.randbelow(2**32)


def written(made: Generation, prompt: str, samples: int, length: int, sampling: Sampling, stop: str) -> dict[str, Any]:
    """prompt, texts (what comes after it), seed, characters, seconds and characters_per_second. Raises TenorError: as Generation.prompt."""
    began = time.perf_counter()
    texts = made.several(prompt, samples, length, sampling, stop)
    seconds, characters = time.perf_counter() - began, sum(map(len, texts))
    return {"prompt": prompt, "texts": texts, "seed": sampling.seed, "characters": characters, "seconds": round(seconds, 4), "characters_per_second": round(characters / seconds)}
