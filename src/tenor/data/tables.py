"""CSV, TSV, JSONL and Parquet: records with all their columns, streamed, broken lines named by their number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tenor.data.files import Entry, Lines, reading
from tenor.errors import TenorError, plural

# The longest record of a CSV, in characters: more is taken for a quote that was never closed.
LONGEST_RECORD = 64_000_000

FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
           ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip


class Record(NamedTuple):
    """One row of a table with all its columns; `line` is the line it starts on (Parquet: the row), from 1."""

    line: int
    values: dict[str, Any]


@dataclass
class Report:
    """What the reader met on its way, for the user."""

    bad_lines: int = 0  # broken lines that were skipped
    bad: list[str] = field(default_factory=list)  # what is wrong with the first of them
    latin1: int = 0  # lines that were not UTF-8

    def skipped(self, fault: str) -> None:
        self.bad_lines += 1
        if len(self.bad) < 10:
            self.bad.append(fault)

    def sentences(self) -> list[str]:
        out = [f"{plural(self.latin1, 'line')} not in UTF-8, read as Latin-1."] if self.latin1 else []
        if self.bad_lines:
            out.append(f"{plural(self.bad_lines, 'broken line')} left out: {'; '.join(self.bad[:3])}{' ...' if self.bad_lines > 3 else ''}.")
        return out


@dataclass(frozen=True)
class Table:
    """A table that can be read from its start any number of times.

    `records(columns, report)` yields Records; `columns` (None: all) limits what a Parquet file decodes.
    """

    name: str
    format: str
    columns: list[str]
    header: bool  # False: the first line was data, columns are named by number
    schema: pa.Schema | None  # Parquet's own
    records: Callable[[list[str] | None, Report], Iterator[Record]]


def open_table(entry: Entry, skip_bad: bool = False, wanted: tuple[str, ...] = (), is_header: Callable[[list[str]], bool] | None = None) -> Table:
    """Look at the start of a table.

    Args:
        entry: the file.
        skip_bad: leave out broken lines (reported) where they would be an error.
        wanted: column names the user gave; a first line that has one of them is a header.
        is_header: decides if the first line of a CSV or TSV is a header.

    Raises:
        TenorError: unknown format, binary data, nothing in it, or a broken first line.
    """
    kind = FORMATS.get(entry.path.suffix.lower())
    if kind is None:
        raise TenorError(f"Unknown kind of file: {entry.name}. Tenor reads {', '.join(sorted(FORMATS))}, each also in .gz, .zip or .tar.gz.")
    if kind == "parquet":
        return _open_parquet(entry)
    if kind == "jsonl":
        return _open_jsonl(entry, skip_bad)
    return _open_csv(entry, kind, skip_bad, wanted, is_header)


# CSV and TSV ---------------------------------------------------------------------------------------------------------


def _open_csv(entry: Entry, kind: str, skip_bad: bool, wanted: tuple[str, ...], is_header: Callable[[list[str]], bool] | None) -> Table:
    csv.field_size_limit(LONGEST_RECORD)
    with reading(entry) as file:
        lines = Lines(file, entry.name)
        delimiter = "\t" if kind == "tsv" else _delimiter(lines)
        first = next(_csv_rows(lines, delimiter, entry.name, None), None)
    if first is None:
        raise TenorError(f"The file is empty: {entry.name}. It needs at least one row: a text, and for training and evaluation a label.")
    cells = first[1]
    header = bool(set(cells) & set(wanted)) or is_header is None or is_header(cells)
    columns = [c.strip() for c in cells] if header else [str(i + 1) for i in range(len(cells))]
    columns = [c or f"column {i + 1}" for i, c in enumerate(columns)]
    if len(set(columns)) < len(columns):
        twice = next(c for c in columns if columns.count(c) > 1)
        raise TenorError(f"Column names must differ; {entry.name} has {twice!r} twice. Rename one in its first line.")

    def records(_: list[str] | None, report: Report) -> Iterator[Record]:
        with reading(entry) as file:
            lines = Lines(file, entry.name)
            rows = _csv_rows(lines, delimiter, entry.name, report if skip_bad else None, len(columns))
            if header:
                next(rows)
            for line, cells in rows:
                yield Record(line, dict(zip(columns, cells, strict=True)))
            report.latin1 += lines.latin1

    return Table(entry.name, kind, columns, header, None, records)


def _delimiter(lines: Lines) -> str:
    """The most frequent of , ; tab | in the first record, outside quotes."""
    first, quotes = [], 0
    for line in lines:
        first.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 or len(first) == 1000:
            break
    lines.give_back(first)
    outside = "".join("".join(first).split('"')[::2])
    return max(",;\t|", key=outside.count)


def _csv_rows(lines: Lines, delimiter: str, name: str, report: Report | None, width: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line they start on. A broken row is an error, or, given a report, left out and reported.

    After a row with a broken quote, reading goes on with the line after its first one, so that a quote that was never
    closed costs one row and not the rest of the file.
    """
    taken = _Taken(lines)
    rows = csv.reader(taken, delimiter=delimiter, strict=True)
    while True:
        taken.start()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            fault = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
            again = taken.lines[1:]
        else:
            if not cells and width == 1:
                cells = [""]  # an empty line of a table with one column is an empty text
            if not cells:
                continue
            width = width or len(cells)
            if len(cells) == width and not taken.has_nul:
                yield taken.first, cells
                continue
            fault = "it holds a zero byte" if taken.has_nul else f"it has {len(cells)} fields where the first line has {width}"
            again = []
        message = f"line {taken.first}: {fault}"
        if report is None:
            raise TenorError(f"Broken line in {name}, {message}. Mend that line (quotes inside a text are doubled), or use --skip-bad to leave such lines out.")
        report.skipped(message)
        lines.give_back(again)


class _Taken:
    """Feeds lines to csv.reader and remembers those of the current row."""

    def __init__(self, source: Lines) -> None:
        self.source = source
        self.start()

    def start(self) -> None:
        self.lines: list[str] = []
        self.first = self.source.number + 1
        self.size = 0
        self.has_nul = False

    def __iter__(self) -> _Taken:
        return self

    def __next__(self) -> str:
        line = next(self.source)
        if self.size > LONGEST_RECORD:
            self.lines.append(line)
            raise csv.Error("a quote is opened and never closed")
        self.lines.append(line)
        self.size += len(line)
        self.has_nul = self.has_nul or "\0" in line
        return line


# JSONL ---------------------------------------------------------------------------------------------------------------


def _open_jsonl(entry: Entry, skip_bad: bool) -> Table:
    def records(_: list[str] | None, report: Report) -> Iterator[Record]:
        with reading(entry) as file:
            lines = Lines(file, entry.name)
            for line in lines:
                if not line.strip():
                    continue
                fault = ""
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError) as error:  # a plain ValueError: a number of more than 4,300 digits
                    fault = f"it is not JSON ({error})"
                else:
                    if isinstance(values, dict):
                        yield Record(lines.number, values)
                        continue
                    fault = f"it is a JSON {type(values).__name__}, not an object with columns"
                message = f"line {lines.number}: {fault}"
                if not skip_bad:
                    raise TenorError(f"Broken line in {entry.name}, {message}. Mend that line, or use --skip-bad to leave such lines out.")
                report.skipped(message)
            report.latin1 += lines.latin1

    start = records(None, Report())
    columns: dict[str, None] = {}
    for _, record in zip(range(100), start, strict=False):  # keys may differ from line to line
        columns |= dict.fromkeys(record.values)
    start.close()  # type: ignore[attr-defined]
    if not columns:
        raise TenorError(f"The file is empty: {entry.name}. It needs at least one row: a text, and for training and evaluation a label.")
    return Table(entry.name, "jsonl", list(columns), True, None, records)


# Parquet -------------------------------------------------------------------------------------------------------------


def _open_parquet(entry: Entry) -> Table:
    with _parquet(entry) as parquet:
        schema = parquet.schema_arrow

    def records(columns: list[str] | None, _: Report) -> Iterator[Record]:
        row = 0
        try:
            with _parquet(entry) as parquet:
                for batch in parquet.iter_batches(4096, columns=columns):
                    for values in batch.to_pylist():
                        row += 1
                        yield Record(row, values)
        except (pa.ArrowInvalid, OSError) as error:
            raise TenorError(f"Corrupt Parquet file: {entry.name} cannot be read after row {row} ({error}). Write it again.") from error

    return Table(entry.name, "parquet", list(schema.names), True, schema, records)


def _parquet(entry: Entry) -> pq.ParquetFile:
    """Parquet is read from its end, so what comes out of an archive is held in memory (compressed, as it is)."""
    with reading(entry) as file:
        source: IO[bytes] | Path = Path(file.name) if type(file) is io.BufferedReader and Path(str(file.name)).is_file() else io.BytesIO(file.read())
    try:
        # With a buffer a row group is streamed; without one it is read whole, and it may be the whole file.
        return pq.ParquetFile(source, buffer_size=1 << 20)
    except pa.ArrowInvalid as error:
        raise TenorError(f"Corrupt Parquet file: {entry.name} ({error}). Write it again.") from error
