"""SOURCE of a command (file, folder, archive or the name of a data set) -> rows: text, label or none, line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from tenor.data import columns as col
from tenor.data import files
from tenor.data.column_files import SUFFIXES, WORD_NAMES, column_table
from tenor.data.tables import FORMATS, Report, Table, open_table
from tenor.data.text import clean
from tenor.errors import TenorError, plural


class Row(NamedTuple):
    """One example, its text cleaned. `part` is its place in the source's own split ("train", "test", ...), if any."""

    text: str
    label: str  # empty where labels do not count
    part: str | None
    line: int


@dataclass
class Rows:
    """The rows of a source that were asked for and what was noticed while reading it."""

    name: str
    rows: list[Row]
    unlabelled: int = 0  # rows that were left out for want of a label
    others: list[Row] = field(default_factory=list)  # these rows, if they were asked for
    notes: list[str] = field(default_factory=list)  # sentences for the user


def read_rows(path: Path, text: str | None = None, label: str | None = None, stars: str = "classes", skip_bad: bool = False, others: bool = False) -> Rows:
    """Read the labelled rows of a file, folder or archive.

    Args:
        path: what to read.
        text, label: names of the columns; None: found by the usual names.
        stars: "classes" keeps each rating a label of its own; "5" or "10" is the scale on which they become negative and
            positive.
        skip_bad: leave out broken lines and count them.
        others: keep rows without a label too, apart.

    Raises:
        TenorError: whatever is wrong with the file, with the line's number where there is one.
    """
    files.check_exists(path)
    tree = _label_tree(path)
    result = _read_tree(path, *tree, others=others) if tree else _read_table(path, text, label, skip_bad, others=others)
    labels: Sequence[str | None] = col.same_spelling([r.label for r in result.rows])
    if stars != "classes":
        labels = col.stars_to_sentiment([r.label for r in result.rows], int(stars), result.name)
        result.notes += col.scale_in_doubt([r.label for r in result.rows], int(stars))
    kept = [r._replace(label=x) for r, x in zip(result.rows, labels, strict=True) if x is not None]
    if len(kept) < len(result.rows):
        result.notes.append(f"{plural(len(result.rows) - len(kept), 'row')} with a rating in the middle of the scale left out.")
    result.rows = kept
    return result


def read_texts(path: Path, text: str | None = None, skip_bad: bool = False) -> Rows:
    """Read all texts of a file, folder or archive, labelled or not; a label column need not be there.

    Raises:
        TenorError: as read_rows.
    """
    files.check_exists(path)
    tree = _label_tree(path)
    return _read_tree(path, *tree, labelled=False) if tree else _read_table(path, text, None, skip_bad, labelled=False)


# Tables --------------------------------------------------------------------------------------------------------------


def table_of(path: Path, skip_bad: bool = False, wanted: tuple[str, ...] = ()) -> Table:
    """The one table that a file, folder or archive holds."""
    files.check_exists(path)
    if path.is_file() and not files.is_archive(path):
        entry = files.plain_entry(path)
        if entry.path.suffix.lower() in SUFFIXES:
            return column_table(entry, skip_bad, wanted)
    else:
        entries = files.folder_entries(path) if path.is_dir() else files.archive_entries(path)
        names = [e.name for e in entries if e.path.suffix.lower() in FORMATS and not e.path.name.lower().startswith("readme")]
        if len(names) != 1:
            found = f"it has {len(names)}: {', '.join(names[:5])}" if names else "it has none"
            raise TenorError(f"{path} must hold one table or folders named by label (train/pos/*.txt); {found}. Name the file you mean.")
        entry = _member(path, names[0])
    return open_table(entry, skip_bad, wanted, col.looks_like_header)


def _member(path: Path, name: str) -> files.Entry:
    """A file of a folder or archive that can be opened again and again."""
    if path.is_dir():
        return files.plain_entry(path / name)

    @contextmanager
    def open_again() -> Iterator[IO[bytes]]:
        for entry in files.archive_entries(path):
            if entry.name == name:
                with entry.open() as f:
                    yield f
                return

    return files.Entry(name, open_again)


def text_column(table: Table, given: str | None, sample: list[dict[str, Any]]) -> str:
    """The column of texts: given, usual, the only one, or (without a header) the longest."""
    words = table.format == "columns"  # a sentence a row, its words a list
    found = col.find_column(table.columns, given, WORD_NAMES if words else col.TEXT_NAMES, "text", "--text", table.name)
    if found is None and words and not table.header:
        return table.columns[0]
    if found is None and len(table.columns) == 1:
        found = table.columns[0]
        if table.header and " " in found.strip():
            raise TenorError(
                f"The only column of {table.name} would be named {found[:60]!r}, by its first line, and that looks like a text. If the file has a text a line and no names: cat FILE | tenor predict -i - "
                "answers its lines, and tenor train FILE --task generate learns to write such text. If it is the column's name, give it with --text."
            )
    if found is None and not table.header:
        found = col.guess_columns(sample)[0]
    if found is None:
        raise TenorError(f"Which column of {table.name} is the text? It has: {', '.join(table.columns)}. Name it with --text.")
    return found


def _read_table(path: Path, text: str | None, label: str | None, skip_bad: bool, labelled: bool = True, others: bool = False) -> Rows:
    table = table_of(path, skip_bad, tuple(c for c in (text, label) if c))
    if table.format == "columns":
        raise TenorError(f"{table.name} holds a word a line with its tags, and no texts. Use --task tag, or a model that tags.")
    with closing(table.records(None, Report())) as start:  # type: ignore[type-var]
        sample = [r.values for r in islice(start, 200)]
    text_name = text_column(table, text, sample)
    label_name = _label_column(table, label, text_name, sample) if labelled else None
    split_name = col.find_column(table.columns, None, col.SPLIT_NAMES, "split", "", table.name)
    report = Report()
    wanted = [c for c in (text_name, label_name, split_name) if c]
    result = Rows(str(path), [])
    for record in table.records(wanted, report):
        meaning = col.label_of(record.values.get(label_name)) if label_name else ""
        result.unlabelled += meaning is None
        if meaning is None and not others:
            continue
        value = record.values.get(text_name)
        part = str(record.values.get(split_name) or "").strip().casefold() if split_name else ""
        row = Row(clean("" if value is None else str(value)), meaning or "", PARTS.get(part, part) or None, record.line)
        (result.others if meaning is None else result.rows).append(row)
    if not result.rows and not result.unlabelled:
        raise TenorError(f"{table.name} has a first line and nothing below it. It needs at least a text and a label a row.")
    if not table.header:
        result.notes.append(f"The first line is no header; taking column {text_name} as the text" + (f", column {label_name} as the label." if label_name else "."))
    result.notes += report.sentences()
    return result


def _label_column(table: Table, given: str | None, text_name: str, sample: list[dict[str, Any]]) -> str:
    found = col.find_column(table.columns, given, col.LABEL_NAMES, "label", "--label", table.name)
    if found is None and not table.header and len(table.columns) > 1:
        found = col.guess_columns(sample)[1]
    if found is None:
        raise TenorError(f"Which column of {table.name} is the label? It has: {', '.join(table.columns)}. Name it with --label.")
    if found == text_name:
        raise TenorError(f"Text and label must be two columns; both are {text_name!r}. Name them with --text and --label.")
    return found


PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}

# Folders named by label ----------------------------------------------------------------------------------------------



class _Place(NamedTuple):
    label: str
    part: str | None


def _place(entry: files.Entry) -> _Place | None:
    """Label and part of a file by its folders, [anything/][train|test/]LABEL/NAME.txt, as in aclImdb."""
    *above, label, name = ("", *entry.path.parts)
    if not name.endswith(".txt") or label in ("", "train", "test"):  # aclImdb/train/urls_pos.txt is no review
        return None
    return _Place(label, above[-1] if above[-1] in ("train", "test") else None)


def _label_tree(path: Path) -> tuple[Callable[[], Iterator[files.Entry]], bool] | None:
    """The files of a folder or archive that keeps a folder a label (two labels at least), and if these lie in train and test; or None."""
    if path.is_dir():
        walk: Callable[[], Iterator[files.Entry]] = lambda: files.folder_entries(path)  # noqa: E731
    elif files.is_archive(path):
        walk = lambda: files.archive_entries(path)  # noqa: E731
    else:
        return None
    labels = set()
    for entry in walk():
        found = _place(entry)
        labels |= {found.label} if found else set()
        if found and (found.part or len(labels) > 1):
            return walk, found.part is not None
    return None


def _read_tree(path: Path, walk: Callable[[], Iterator[files.Entry]], parts: bool, labelled: bool = True, others: bool = False) -> Rows:
    result = Rows(str(path), [])
    latin1 = 0
    for entry in walk():
        found = _place(entry)
        if found is None or (parts and found.part is None):  # in its archive, aclImdb/imdbEr.txt is no review
            continue
        meaning = col.label_of(found.label) if labelled else ""
        result.unlabelled += meaning is None
        if meaning is None and not others:
            continue
        with files.reading(entry) as f:
            data = f.read()
        files.check_is_text(data[:65_536], entry.name)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            latin1 += 1
            text = data.decode("latin-1")
        row = Row(clean(text), meaning or "", found.part, len(result.rows) + len(result.others) + 1)
        (result.others if meaning is None else result.rows).append(row)
    if latin1:
        result.notes.append(f"{plural(latin1, 'file')} not in UTF-8, read as Latin-1.")
    return result
