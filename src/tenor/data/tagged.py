"""Sentences with a tag a word, from column files (a word a line) and tables (a sentence a row)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tenor.data import columns as col
from tenor.data import files
from tenor.data.column_files import OTHER_TAG_NAMES, TAG_NAMES, WORD_NAMES, ColumnFile, is_column_file
from tenor.data.parts import part_of
from tenor.data.sources import table_of
from tenor.data.tables import Record, Report
from tenor.errors import TenorError, nearest, plural


class Sentence(NamedTuple):
    """Words; for each its tag (no tags where they do not count), and its value in each column that is read beside it."""

    words: list[str]
    tags: list[str] = []  # noqa: RUF012 - nobody changes it
    beside: tuple[list[str], ...] = ()
    part: str | None = None  # of the source's own split, as data.parts names it, if any
    line: int = 0


@dataclass
class Sentences:
    """The sentences of a source and what was noticed while reading it."""

    name: str
    rows: list[Sentence]
    columns: list[str]  # of words, of tags, of what is read beside them
    notes: list[str] = field(default_factory=list)


def read_sentences(path: Path, words: str | None = None, tags: str | None = None, beside: Sequence[str] = (), skip_bad: bool = False) -> Sentences:
    """Read tagged sentences.

    Args:
        path: a column file, a table, or a folder or archive with one table. In a table a row's words and tags are lists, or texts that are split at white space.
        words, tags, beside: columns, by their names or, in a file without names, numbers from 1; None: found by the usual names, in a column file without names the first and the last.
        skip_bad: leave out broken lines, and sentences with an empty cell or with words and tags of unequal number, and count them.

    Raises:
        TenorError: whatever is wrong with the file, with the line's or row's number where there is one.
    """
    files.check_exists(path)
    report = Report()
    name, unit, names, records = _opened(path, [c for c in (words, tags, *beside) if c], skip_bad, report)
    numbered = unit == "line" and names[0].isdigit()
    word_column = _word_column(names, words or (names[0] if numbered else None), name)
    tag_column = _tag_column(names, tags or (names[-1] if numbered else None), word_column, name)
    columns = [word_column, tag_column, *(_column(names, c, "what is read beside the words", "--beside", name) for c in beside)]
    twice = next((c for c in columns[2:] if columns.count(c) > 1), None)
    if twice is not None:
        raise TenorError(f"What is read beside the words are other columns than words and tags, each named once; {twice!r} comes twice. Leave it out of --beside.")
    split = col.find_column(names, None, col.SPLIT_NAMES, "split", "", name)
    result, empty = Sentences(name, [], columns), 0
    for record in records():
        try:
            lists = [words_of(record.values.get(c), f"{unit.capitalize()} {record.line} of {name}", c) for c in columns]
        except TenorError:
            if not skip_bad:
                raise
            report.skipped(f"{unit} {record.line}: a cell that is empty, or neither text nor number")
            continue
        fault = next((_unequal(lists[0], other, c) for other, c in zip(lists[1:], columns[1:], strict=True) if len(other) != len(lists[0])), "")
        if fault and skip_bad:
            report.skipped(f"{unit} {record.line}: {fault}")
        elif fault:
            raise TenorError(f"Every word needs one tag; {unit} {record.line} of {name} has {fault}. Mend it, or use --skip-bad to leave such sentences out.")
        elif not lists[0]:
            empty += 1
        else:
            part = part_of(record.values.get(split)) if split else None
            result.rows.append(Sentence(lists[0], lists[1], tuple(lists[2:]), part, record.line))
    if empty:
        result.notes.append(f"{plural(empty, 'empty sentence')} left out.")
    result.notes += report.sentences()
    if not result.rows:
        raise TenorError(" ".join([f"{name} has no sentence with words. It needs a word and its tag a line, or lists of words and tags a row.", *report.sentences()]))
    return result


def _opened(path: Path, wanted: Sequence[str], skip_bad: bool, report: Report) -> tuple[str, str, list[str], Callable[[], Iterator[Record]]]:
    """Name, what a record's number counts, columns, and the records."""
    entry = files.plain_entry(path) if path.is_file() and not files.is_archive(path) else None
    if entry and is_column_file(entry):
        found = ColumnFile(entry, wanted)
        return entry.name, "line", found.columns, lambda: found.records(report if skip_bad else None)
    table = table_of(path, skip_bad, (*wanted, *WORD_NAMES))
    return table.name, "row" if table.format == "parquet" else "line", table.columns, lambda: table.records(None, report)


def words_of(value: Any, where: str, column: str) -> list[str]:
    """A list as it is, each entry as a text; a text split at white space.

    Raises:
        TenorError: an entry that is empty, or neither text nor number.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list):
        raise TenorError(f"Words and tags are lists or texts; {where} has {value!r:.40} in column {column}. Choose the right columns with --text and --label.")
    wrong = next((x for x in value if isinstance(x, bool) or not isinstance(x, (str, int)) or not str(x).strip()), None) if value else None
    if wrong is not None or None in value:
        raise TenorError(f"Words and tags must be texts and not empty; {where} has {wrong!r:.40} in column {column}. Mend it.")
    return [str(x) for x in value]


def _unequal(words: list[str], others: list[str], column: str) -> str:
    return f"{plural(len(words), 'word')} and {len(others):,} in column {column}"


def _word_column(names: Sequence[str], given: str | None, source: str) -> str:
    found = col.find_column(names, given, WORD_NAMES, "words", "--text", source)
    if found is None:
        raise TenorError(f"Which column of {source} are the words? It has: {', '.join(names)}. Name it with --text.")
    return found


def _tag_column(names: Sequence[str], given: str | None, words: str, source: str) -> str:
    found = col.find_column(names, given, TAG_NAMES, "tags", "--label", source)
    others = [n for n in names if n.strip().casefold() in OTHER_TAG_NAMES]
    if found is None and len(others) == 1:
        found = others[0]
    if found is None:
        among = f" It could be {' or '.join(others)}." if others else f" It has: {', '.join(names)}."
        raise TenorError(f"Which column of {source} are the tags?{among} Name it with --label.")
    if found == words:
        raise TenorError(f"Words and tags must be two columns; both are {words!r}. Name them with --text and --label.")
    return found


def _column(names: Sequence[str], given: str, what: str, option: str, source: str) -> str:
    if given not in names:
        way = " A file of columns gets names by a first line of them (word pos chunk)." if all(n.isdigit() for n in names) else ""
        raise TenorError(f"No column {given!r} for {what} in {source}{nearest(given, names)} It has: {', '.join(names)}. A training chooses it with {option}, and its model asks for that name.{way}")
    return given
