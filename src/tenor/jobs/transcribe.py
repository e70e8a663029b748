"""What the commands do with models that transcribe."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.markup import escape

from tenor.config import Device, ReadingPrecision
from tenor.data.datasets import Progress, resolve
from tenor.data.parts import part_of
from tenor.data.recordings import Recording, check_sounds, divided, read_recordings, sound_column, sound_table
from tenor.data.sound import MOST_SECONDS, Sound, read_wav
from tenor.data.tables import Record, Table
from tenor.errors import TenorError, plural
from tenor.jobs.answers import AskedTexts
from tenor.jobs.kinds import Parts, TaskOrder, several
from tenor.pipelines.transcription import BEAM, Transcription
from tenor.results.evaluate import interval
from tenor.results.report import heard, transcriber_card
from tenor.store import Stored
from tenor.training.events import Events
from tenor.training.loop import Outcome
from tenor.training.presets import Preset
from tenor.training.presets_transcribe import transcribe_preset
from tenor.training.transcribe import fit, joined


class Transcribing:
    shown: Literal["accuracy", "loss"] = "accuracy"
    options: frozenset[str] = frozenset({"one_way", "tokens", "networks"})

    def preset(self, **changes: Any) -> Preset:
        return transcribe_preset(**changes)

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """Rows of the source's own test parts are for the test at the end."""
        source = read_recordings(resolve(order.source, progress), order.text, order.skip_bad)
        train, aside, test = divided(source.rows, order.preset.split.validation, order.preset.train.seed)
        rate, seconds = source.rate, [sum(len(r.samples) for r in rows) / source.rate for rows in (train, aside, test)]
        choosing = f"{plural(len(aside), 'recording')} {'chooses' if len(aside) == 1 else 'choose'} the epoch" if aside else "None is kept aside, so the last epoch is kept"
        most = joined(train, rate, order.preset.text.join)
        notes = [
            *source.notes,
            f"{plural(len(train), 'recording')} to learn from, {seconds[0] / 60:.1f} minutes at {rate:,} samples a second. {choosing}{f', and {len(test):,} of part test are read once, at the end' if test else ''}.",
            *([f"In training up to {most} of one speaker are joined to one sound."] if most > 1 else []),
        ]
        counts = {"train": len(train), "validation": len(aside), "test": len(test), "rate": rate, "train_seconds": round(seconds[0], 1)}
        return Parts(train, aside, test, notes, counts)

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Transcription, Outcome]:
        return fit(parts.train, parts.validation, parts.counts["rate"], preset, events, work)

    def results(self, made: Transcription, parts: Parts) -> dict[str, Any]:
        return {name: measured(made, rows) for name, rows in (("validation", parts.validation), ("test", parts.test)) if any(r.text for r in rows)}

    def measured(self, found: Mapping[str, Any]) -> str:
        return heard(found)

    def described(self, made: Transcription) -> list[str]:
        m, kind = made.model, {"word": "words", "char": "characters"}[made.symbols.kind]
        both = "bidirectional " if m.bidirectional else ""
        sounds = f"{made.rate:,} samples a second, {made.sound.bands} bands, steps of {made.sound.stack * 10} ms"
        return [f"{several(m.networks)}{m.layers} x {both}{m.cell.upper()} {m.hidden}, CTC", f"Sounds: {sounds}; {kind}, {len(made.symbols) - 1} in the vocabulary"]

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        return transcriber_card(title, config, metrics, history)

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Transcription:
        return Transcription.rebuilt(stored, device, precision)

    def evaluate(self, source: str, made: Transcription, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:  # noqa: ARG002
        """The numbers of `measured` on all recordings of a source (of a part: only these), with seconds and notes.

        Raises:
            TenorError: no recording, or anything wrong with the files.
        """
        found = read_recordings(resolve(source, progress), text, skip_bad, made.rate)
        rows = [r for r in found.rows if part is None or r.part == part_of(part)]
        if not rows:
            raise TenorError(f"No recording of {found.name} is of part {part!r}. Leave --part out to take all.")
        began = time.perf_counter()
        result = measured(made, rows)
        return result | {"seconds": round(time.perf_counter() - began, 3), "notes": found.notes}

    def answerer(self, made: Transcription) -> Transcripts:
        return Transcripts(made)


KIND = Transcribing()
MOST_AT_ONCE = 64  # sounds that are held in memory, and about MOST_SECONDS of them


def measured(made: Transcription, rows: Sequence[Recording]) -> dict[str, Any]:
    """Transcription.measure, with the 95 % interval of the accuracy."""
    found = made.measure(rows)
    low, high = interval(found["right"], found["rows"])
    return found | {"accuracy_low": low, "accuracy_high": high}


def transcribed(made: Transcription, files: Sequence[str], beam: int = BEAM, once: bool = False) -> list[dict[str, Any]]:
    """file, text, probability and seconds (of sound) of each WAV file; beam, once: as of Transcription.transcribe. Raises TenorError: one that cannot be read."""
    answers: list[dict[str, Any]] = []
    sounds: list[Sound] = []
    for number, file in enumerate(files, 1):
        sounds.append(read_wav(Path(file)))
        if number == len(files) or len(sounds) == MOST_AT_ONCE or sum(s.seconds for s in sounds) > MOST_SECONDS:
            answers += [{"file": f, "text": s.text, "probability": s.probability, "seconds": round(s.seconds, 3)} for f, s in zip(files[len(answers) : number], made.transcribe(sounds, beam, once), strict=True)]
            sounds = []
    return answers


class Transcripts(AskedTexts):
    """For `tenor predict`: each text is the place of a WAV file, in a table told from the table's folder."""

    columns: Mapping[str, pa.DataType] = {"transcript": pa.string(), "probability": pa.float64()}

    def __init__(self, made: Transcription) -> None:
        self.made, self.folder = made, Path()
        self.seconds, self.empty = 0.0, 0

    def table(self, source: Path, skip_bad: bool, given: str | None) -> Table:
        found, self.folder = sound_table(source, skip_bad, given)
        return found

    def column(self, table: Table, given: str | None, sample: Sequence[Record]) -> str:
        """The column of files. Raises TenorError: there is none, or one of the files cannot be read, by its header."""
        found = sound_column(table, given)
        if any(isinstance(r.values.get(found), bytes) for r in sample):
            raise TenorError(f"tenor predict reads files that a table names; column {found} holds the samples themselves. tenor evaluate and train read these.")
        check_sounds(table, self.folder, found)
        return found

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        answers = transcribed(self.made, [str(self.folder / t.strip()) for t in texts])
        self.seconds += sum(a["seconds"] for a in answers)
        self.empty += sum(not a["text"] for a in answers)
        return [{"transcript": a["text"], "probability": a["probability"], "seconds": a["seconds"]} for a in answers]

    def line(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"[bold]{escape(answer['transcript'])}[/bold]  {answer['probability']:.3f}  {escape(text)}"

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"{answer['transcript']}\t{answer['probability']:.4f}\t{text}"

    def totals(self) -> dict[str, Any]:
        return {"seconds_of_sound": round(self.seconds, 1), "empty": self.empty}

    def summary(self) -> list[str]:
        return [f"{self.seconds / 60:.1f} minutes of sound.", *self.warnings()]

    def warnings(self) -> list[str]:
        return [f"In {plural(self.empty, 'sound')} no word was heard."] if self.empty else []
