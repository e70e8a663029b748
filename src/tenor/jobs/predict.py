"""`tenor predict`: answers for the lines of a pipe, or for a file of any size, a block at a time, all columns and the order kept."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tenor.data.files import check_exists, decode
from tenor.data.sources import table_of, text_column
from tenor.data.tables import Record, Report, Table
from tenor.errors import TenorError, plural
from tenor.jobs.answers import Answerer, ReadsFiles, text_of

# A block ends at so many rows or characters: memory stays flat, and batches are still full.
BLOCK_ROWS, BLOCK_CHARACTERS = 512, 4_000_000
_OUTPUTS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".conll": "columns"}


def predict_pipe(answerer: Answerer, descriptor: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line of a pipe with its answer: whatever lines have arrived are answered together, none waits for a later one."""
    rest = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        texts = [decode(line).rstrip("\r") for line in lines]
        yield from zip(texts, answerer.answers(texts), strict=True)
    if rest:
        yield decode(rest), answerer.answers([decode(rest)])[0]


def predict_file(
    answerer: Answerer, source: Path, out: Path, text: str | None, skip_bad: bool, overwrite: bool, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Read a table, write it again with the answers' columns; `out` appears whole or not at all.

    A column that has such a name already is kept, and the new one is called predicted_NAME (predicted_predicted_NAME ...).

    Returns:
        rows, the answerer's totals, broken lines left out, the column read, columns added.

    Raises:
        TenorError: anything wrong with either file.
    """
    check_exists(source)
    kind = _OUTPUTS.get(out.suffix.lower())
    if kind is None:
        raise TenorError(f"The output's name says its format: {', '.join(_OUTPUTS)}; got {out.name!r}.")
    if kind == "columns" and not all(pa.types.is_list(t) for t in answerer.columns.values()):
        raise TenorError("A .conll has a word a line, for models that tag; this one does not. Write .csv, .tsv, .jsonl or .parquet.")
    if out.exists() and source.exists() and out.samefile(source):
        raise TenorError(f"Input and output must be two files; both are {source}. Choose another -o.")
    if out.is_dir():
        raise TenorError(f"{out} is a folder, and the output is a file. Choose another -o.")
    if out.exists() and not overwrite:
        raise TenorError(f"{out} exists already, and nothing is overwritten unasked. Choose another -o, or add --overwrite.")
    table = answerer.table(source, skip_bad, text) if isinstance(answerer, ReadsFiles) else table_of(source, skip_bad, (text,) if text else ())
    with closing(table.records(None, Report())) as start:  # type: ignore[type-var]
        sample = list(islice(start, 200))
    column = answerer.column(table, text, sample) if isinstance(answerer, ReadsFiles) else text_column(table, text, [r.values for r in sample])
    added = {_free(name, table.columns): kind for name, kind in answerer.columns.items()}
    report, rows = Report(), 0
    room: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))  # nobody else's name
        beside = room / out.name
        with closing(_writer(kind, beside, table, added, sample, column)) as writer:
            for block in _blocks(table.records(None, report), column):
                answers = answerer.answers([answerer.asked(r.values, column) for r in block])
                for record, answer in zip(block, answers, strict=True):
                    _check_columns(record, table, added, kind)
                    record.values.update(zip(added, _values(answerer, answer), strict=True))
                writer.write(block)
                rows += len(block)
                if progress:
                    progress(rows)
        with open(beside, "rb") as f:
            os.fsync(f.fileno())
        os.replace(beside, out)
    except OSError as error:
        raise TenorError(f"{out} could not be written ({error.strerror or error}). Nothing was left half-written; free some space or choose another -o.") from error
    finally:
        if room:
            shutil.rmtree(room, ignore_errors=True)
    return {"rows": rows} | answerer.totals() | {"bad_lines": report.bad_lines, "bad": report.bad, "column": column, "added": list(added), "out": str(out)}


def _values(answerer: Answerer, answer: Mapping[str, Any]) -> list[Any]:
    return [str(answer[name]) if kind == pa.string() else answer[name] for name, kind in answerer.columns.items()]


def _free(name: str, columns: Sequence[str]) -> str:
    return name if name not in columns else _free(f"predicted_{name}", columns)


def _check_columns(record: Record, table: Table, added: dict[str, pa.DataType], kind: str) -> None:
    """Lines of a JSONL may have keys that its start does not show."""
    late = record.values.keys() - set(table.columns)
    if late and (kind != "jsonl" or late & added.keys()):
        way = "Rename it." if kind == "jsonl" else "Write .jsonl, which can take it."
        raise TenorError(f"Line {record.line} has a column that the first 100 lines have not: {sorted(late)[0]!r}. {way}")


def _blocks(records: Iterator[Record], column: str) -> Iterator[list[Record]]:
    block: list[Record] = []
    size = 0
    for record in records:
        block.append(record)
        size += len(text_of(record.values, column))
        if len(block) >= BLOCK_ROWS or size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _writer(kind: str, path: Path, table: Table, added: dict[str, pa.DataType], sample: list[Record], column: str) -> _Csv | _Jsonl | _Parquet | _Columns:
    columns = [*table.columns, *added]
    if kind == "parquet":
        return _Parquet(path, table, added, sample)
    if kind == "columns":
        lists = [c for c in table.columns if c != column and all(isinstance(r.values.get(c), list) for r in sample)]
        return _Columns(path, column, [*lists, *added])
    return _Jsonl(path) if kind == "jsonl" else _Csv(path, columns, "\t" if kind == "tsv" else ",", table.header)


class _Csv:
    def __init__(self, path: Path, columns: list[str], delimiter: str, header: bool) -> None:
        self.file: IO[str] = open(path, "w", newline="", encoding="utf-8")
        self.columns = columns
        self.rows = csv.writer(self.file, delimiter=delimiter)  # ends lines with \r\n, and so quotes a \r inside a text
        if header:
            self.rows.writerow(columns)

    def write(self, block: list[Record]) -> None:
        for record in block:
            self.rows.writerow([_cell(record.values.get(c)) for c in self.columns])

    def close(self) -> None:
        self.file.close()


class _Jsonl:
    def __init__(self, path: Path) -> None:
        self.file: IO[str] = open(path, "w", encoding="utf-8")

    def write(self, block: list[Record]) -> None:
        for record in block:
            self.file.write(json.dumps(record.values, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        self.file.close()


class _Columns:
    """A word a line: what was read, other columns that are lists, and what is added, between tabs; an empty line between sentences."""

    def __init__(self, path: Path, column: str, others: list[str]) -> None:
        self.file: IO[str] = open(path, "w", encoding="utf-8")
        self.column, self.others = column, others

    def write(self, block: list[Record]) -> None:
        for record in block:
            given = record.values.get(self.column) or []
            words = given.split() if isinstance(given, str) else given
            lists = [words, *(self._cells(record, c, len(words)) for c in self.others)]
            self.file.write("".join("\t".join(map(str, cells)) + "\n" for cells in zip(*lists, strict=True)) + "\n")

    def _cells(self, record: Record, column: str, words: int) -> list[Any]:
        cells = record.values.get(column) or []
        if not isinstance(cells, list) or len(cells) != words:
            raise TenorError(f"A .conll has a value a word in each column; line {record.line} has {plural(words, 'word')}, and not as many values in column {column!r}. Write .jsonl, which can take it.")
        return cells

    def close(self) -> None:
        self.file.close()


class _Parquet:
    def __init__(self, path: Path, table: Table, added: dict[str, pa.DataType], sample: list[Record]) -> None:
        if table.schema is not None:
            schema = table.schema
        elif table.format == "jsonl":
            schema = _table([{c: r.values.get(c) for c in table.columns} for r in sample], sample, None).schema
        else:
            schema = pa.schema([(c, pa.string()) for c in table.columns])
        for name, kind in added.items():
            schema = schema.append(pa.field(name, kind))
        self.schema = schema
        self.inner = pq.ParquetWriter(path, schema)

    def write(self, block: list[Record]) -> None:
        self.inner.write_table(_table([r.values for r in block], block, self.schema))

    def close(self) -> None:
        self.inner.close()


def _table(rows: list[dict[str, Any]], block: list[Record], schema: pa.Schema | None) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        lines = f"{block[0].line} to {block[-1].line}"
        raise TenorError(f"Lines {lines} hold values that do not fit one Parquet column of one type ({error}). Write .jsonl, which can take them.") from error


def _cell(value: Any) -> Any:
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


