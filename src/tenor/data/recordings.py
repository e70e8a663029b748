"""A table of sounds and what is said in them: rows with samples, transcript, speaker and part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tenor.data import columns as col
from tenor.data.files import check_exists
from tenor.data.parts import is_test, part_of
from tenor.data.sound import Sound, check_wav, decode_bytes, read_wav, resampled
from tenor.data.sources import table_of
from tenor.data.splits import validation_split
from tenor.data.tables import FORMATS, Record, Report, Table
from tenor.errors import TenorError, plural

FILE_NAMES = ("file", "path", "audio", "wav", "filename", "file_name", "sound")
BYTES_NAMES = ("pcm", "bytes")
SAID_NAMES = ("text", "transcript", "transcription", "sentence", "words", "digit")
SPEAKER_NAMES = ("speaker", "speaker_id", "client_id", "voice")
WIDE, NARROW = 16_000, 8_000  # samples a second of a model: speech has little above 8 kHz, a telephone's nothing above 4


class Recording(NamedTuple):
    """samples: [N] int16 at the rate of all; text: what is said, in small letters, words one space apart; part: as data.parts names it, or none."""

    samples: np.ndarray
    text: str
    speaker: str
    part: str | None
    name: str  # for people: its file, or its row


@dataclass
class Recordings:
    """rate: samples a second of all rows; notes: sentences for the user."""

    name: str
    rows: list[Recording]
    rate: int
    notes: list[str] = field(default_factory=list)


def spoken(text: str) -> str:
    """A transcript as it is learnt and compared: small letters, words one space apart."""
    return " ".join(text.casefold().split())


def read_recordings(path: Path, text: str | None = None, skip_bad: bool = False, rate: int | None = None) -> Recordings:
    """Read a table with a column of WAV files (their places are told from the table's folder) or of samples, or a folder that holds such a table beside its sounds.

    Args:
        path: the table or folder.
        text: name of the column of transcripts; None: found by the usual names.
        skip_bad: leave out rows whose sound cannot be read, and count them.
        rate: samples a second of a model; None: WIDE if all sounds have as many, else NARROW.

    Raises:
        TenorError: files that are not there, a sound that cannot be read, or anything wrong with the table.
    """
    table, folder = sound_table(path, skip_bad, text)
    where = _Columns.of(table, text)
    report, left = Report(), []
    wanted = [c for c in where if c]
    if not (where.bytes or skip_bad):
        _check_files(table, folder, where.sound, "leave such rows out with --skip-bad")
    sounds, rows = [], []
    for record in table.records(wanted, report):
        try:
            sound = kept(sound_of(record, folder, where.sound, where.rate), rate)
            rows.append(_recording(sound.samples, record, where))
            sounds.append(sound)
        except TenorError as error:
            if not skip_bad:
                raise TenorError(f"Row {record.line} of {table.name}: {error}") from error
            left.append(f"row {record.line}: {error}")
    if not sounds:
        raise TenorError(f"{table.name} holds no sound that can be read. It needs a row for each: the file and what is said in it.")
    samples, rate = at_one_rate(sounds)
    rows = [r._replace(samples=s) for r, s in zip(rows, samples, strict=True)]
    notes = report.sentences() + ([f"{plural(len(left), 'row')} left out: {'; '.join(left[:3])}{' ...' if len(left) > 3 else ''}"] if left else [])
    if where.take:
        notes.append("Columns digit and take: as in the Free Spoken Digit Dataset, takes 0 to 4 are part test, and 5 to 9 part validation.")
    if where.bytes and not where.rate:
        notes.append(f"No column rate: bare samples are taken as {NARROW:,} a second, 16 bits each.")
    return Recordings(str(path), rows, rate, notes)


def sound_table(path: Path, skip_bad: bool = False, *wanted: str | None) -> tuple[Table, Path]:
    """The table of a SOURCE, and the folder that its files are told from."""
    check_exists(path)
    if path.is_dir():
        tables = sorted(p for p in path.iterdir() if p.suffix.lower() in FORMATS and p.suffix.lower() != ".txt" and not p.name.lower().startswith("readme"))
        if len(tables) != 1:
            found = f"it has {len(tables)}: {', '.join(p.name for p in tables[:5])}" if tables else "it has none"
            raise TenorError(f"A folder of sounds holds one table of what is said in them (columns file and text); {path}: {found}. Name the table you mean; tenor transcribe takes WAV files without one.")
        path = tables[0]
    return table_of(path, skip_bad, tuple(w for w in wanted if w)), path.parent


class _Columns(NamedTuple):
    """Names of columns. `sound` is one of files or, if `bytes`, of samples."""

    sound: str
    text: str
    speaker: str | None
    split: str | None
    rate: str | None
    take: str | None

    @property
    def bytes(self) -> bool:
        return self.sound.strip().casefold() in BYTES_NAMES

    @classmethod
    def of(cls, table: Table, text: str | None) -> _Columns:
        sound = sound_column(table)
        said = col.find_column(table.columns, text, SAID_NAMES, "transcript", "--text", table.name)
        if said is None:
            raise TenorError(f"Which column of {table.name} says what is spoken? It has: {', '.join(table.columns)}. Name it with --text.")
        speaker, split, rate = (col.find_column(table.columns, None, names, "", "", table.name) for names in (SPEAKER_NAMES, col.SPLIT_NAMES, ("rate", "sampling_rate")))
        return cls(sound, said, speaker, split, rate, "take" if {"digit", "take"} <= set(table.columns) and not split else None)


def sound_column(table: Table, given: str | None = None) -> str:
    """The column of files or of samples. Raises TenorError: no such column is there, or none has a usual name."""
    found = col.find_column(table.columns, given, (*FILE_NAMES, *BYTES_NAMES), "sound", "--text", table.name)
    if found is None:
        raise TenorError(f"A table of sounds has a column of WAV files named file (or {', '.join(FILE_NAMES[1:])}); {table.name} has: {', '.join(table.columns)}. Rename it.")
    return found


def sound_of(record: Record, folder: Path, column: str, rate: str | None = None) -> Sound:
    """The sound that a row names or holds. Raises TenorError if it cannot be read."""
    value = record.values.get(column)
    if isinstance(value, bytes):
        return decode_bytes(value, _number(record, rate) if rate else NARROW, f"column {column}")
    return read_wav(_file(record, folder, column))


def check_sounds(table: Table, folder: Path, column: str) -> None:
    """All files of a table, before any is read: they are there, and their headers are good. Raises TenorError with the row."""
    _check_files(table, folder, column, "leave such rows out of the table")
    for record in table.records([column], Report()):
        try:
            check_wav(_file(record, folder, column))
        except TenorError as error:
            raise TenorError(f"Row {record.line} of {table.name}: {error}") from error


def _file(record: Record, folder: Path, column: str) -> Path:
    value = record.values.get(column)
    if value is None or not str(value).strip():
        raise TenorError(f"Column {column} is empty. Name a WAV file.")
    return folder / str(value).strip()


def _number(record: Record, column: str) -> int:
    value: Any = record.values.get(column)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TenorError(f"Column {column} must hold a whole number; got {value!r:.60}. Correct it, or leave such rows out with --skip-bad.") from error


def _check_files(table: Table, folder: Path, column: str, way: str) -> None:
    """All missing files at once, before any is read."""
    missing = [(r.line, name) for r, name in _named(table, column) if not (folder / name).is_file()]
    if missing:
        listed = ", ".join(f"{name} (row {line})" for line, name in missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise TenorError(f"{table.name} names {plural(len(missing), 'file')} that {folder} does not hold: {listed}. Put them there, or {way}.")


def _named(table: Table, column: str) -> Iterator[tuple[Record, str]]:
    for record in table.records([column], Report()):
        value = record.values.get(column)
        if isinstance(value, str) and value.strip():
            yield record, value.strip()


def kept(sound: Sound, rate: int | None = None) -> Sound:
    """In int16, at a model's rate or (None) at WIDE, or NARROW where it has less: so ten hours of speech at 16 kHz take 1.2 GB."""
    rate = rate or (WIDE if sound.rate >= WIDE else NARROW)
    return Sound(whole(resampled(sound, rate)), rate)


def at_one_rate(sounds: Sequence[Sound]) -> tuple[list[np.ndarray], int]:
    """What `kept` gave -> samples at the lowest rate among them, and that rate."""
    rate = min(s.rate for s in sounds)
    return [s.samples if s.rate == rate else whole(resampled(Sound(of_whole(s.samples), s.rate), rate)) for s in sounds], rate


def _recording(samples: np.ndarray, record: Record, where: _Columns) -> Recording:
    v = record.values
    part = part_of(v.get(where.split)) if where.split else _take_part(_number(record, where.take)) if where.take else None
    name = f"row {record.line}" if where.bytes else str(v[where.sound])
    said = v.get(where.text)
    return Recording(samples, spoken("" if said is None else str(said)), str(v.get(where.speaker) or "") if where.speaker else "", part, name)


def _take_part(take: int) -> str:
    return "test" if take < 5 else "validation" if take < 10 else "train"


def whole(samples: np.ndarray) -> np.ndarray:
    """float32 from -1 to 1 -> int16."""
    found: np.ndarray = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    return found


def of_whole(samples: np.ndarray) -> np.ndarray:
    """int16 -> float32 from -1 to 1."""
    found: np.ndarray = samples.astype(np.float32) / 32768
    return found


def divided(rows: Sequence[Recording], wish: float | None, seed: int) -> tuple[list[Recording], list[Recording], list[Recording]]:
    """Recordings to learn from, to choose the epoch by, and of test parts. Those that choose are of part validation or, where there is none or so many are wished for, drawn from the others with balance.

    Raises:
        TenorError: more validation rows asked for than there are, or none is left to learn from.
    """
    test = [r for r in rows if is_test(r.part)]
    aside = [r for r in rows if r.part == "validation"] if wish is None else []
    rest = [r for r in rows if not is_test(r.part) and (wish is not None or r.part != "validation")]
    if not rest:
        raise TenorError("No recording is left to learn from: all are of the parts test and validation. Give some of part train.")
    if aside:
        return rest, aside, test
    numbers: dict[str, int] = {}
    y = np.array([numbers.setdefault(r.text, len(numbers)) for r in rest])
    learn, choose = validation_split(y, np.arange(len(rest)), wish, seed)
    return [rest[i] for i in learn], [rest[i] for i in choose], test


# What is said, as symbols ----------------------------------------------------------------------------------------------

BLANK = 0  # CTC's symbol for nothing
MOST_WORDS, LEAST_EACH = 100, 10  # a vocabulary of few words that each occur often is learnt whole


class Symbols:
    """What is written down: words or characters, and their numbers from 1; 0 is CTC's blank.

    Args:
        kind: "word" or "char".
        names: the symbols, in the order of their numbers.
    """

    def __init__(self, kind: str, names: list[str]) -> None:
        self.kind, self.names = kind, names
        self.numbers = {name: i for i, name in enumerate(names, 1)}

    def __len__(self) -> int:
        """The blank included."""
        return len(self.names) + 1

    @classmethod
    def of(cls, texts: list[str], kind: str = "auto") -> Symbols:
        """Those of transcripts; auto: words where they are few and occur often, else characters.

        Raises:
            TenorError: no transcript has a word.
        """
        words = Counter(w for t in texts for w in t.split())
        if not words:
            raise TenorError("No transcript has a word in it. Choose the right column with --text.")
        if kind == "auto":
            kind = "word" if len(words) <= MOST_WORDS and min(words.values()) >= LEAST_EACH else "char"
        return cls(kind, sorted(words) if kind == "word" else sorted({c for t in texts for c in t}))

    def encode(self, text: str) -> list[int]:
        """Symbols that never occurred in training are left out."""
        return [self.numbers[s] for s in (text.split() if self.kind == "word" else text) if s in self.numbers]

    def decode(self, numbers: list[int]) -> str:
        return spoken((" " if self.kind == "word" else "").join(self.names[n - 1] for n in numbers))
