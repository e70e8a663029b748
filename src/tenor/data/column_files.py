"""Column files (CoNLL): a word a line with its columns, an empty line between sentences. A sentence is a record of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenor.data.files import Entry, Lines, reading
from tenor.data.tables import Record, Report, Table
from tenor.errors import TenorError

WORD_NAMES = ("words", "tokens", "word", "token", "form", "text", "sentence")
TAG_NAMES = ("tags", "labels", "tag", "label")  # the first that is there
OTHER_TAG_NAMES = ("ner_tags", "ner", "chunk_tags", "chunk", "pos_tags", "pos", "upos", "xpos")  # the only one that is there
CONLLU = ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes")  # what has one of these is always one
_LOOK = 1000  # lines of a .tsv that tell if it is one


def is_column_file(entry: Entry) -> bool:
    """By its name, where it is known that words are tagged; a .tsv is one if an empty line stands between others (a table has none)."""
    kind = entry.path.suffix.lower()
    if kind != ".tsv":
        return kind in (*SUFFIXES, ".txt", "")
    with reading(entry) as file:
        lines = Lines(file, entry.name)
        filled = [bool(line.strip()) for line, _ in zip(lines, range(_LOOK), strict=False)]
    return False in filled[: max((i for i, f in enumerate(filled) if f), default=0)]


class ColumnFile:
    """A column file that can be read from its start any number of times.

    Columns are parted by tabs where the first line has one, else by spaces. They have the names that the first line gives them, if it does
    (one of `wanted`, or the name of a word's column in the first place or with a tag's on the same line), of a .conllu the usual ones, else numbers from 1.
    Lines that begin a document (-DOCSTART-), and in a .conllu remarks and words within words, are left out.

    Raises:
        TenorError: it holds nothing.
    """

    def __init__(self, entry: Entry, wanted: Sequence[str] = ()) -> None:
        self.entry, self.conllu = entry, entry.path.suffix.lower() == ".conllu"
        with reading(entry) as file:
            lines = Lines(file, entry.name)
            first = next((line for line in lines if line.strip() and not self._left_out(line)), None)
        if first is None:
            raise TenorError(f"The file is empty: {entry.name}. It needs at least one word with its tag.")
        self.tabs = "\t" in first
        cells = self._cells(first)
        self.header = not self.conllu and _is_header(cells, wanted)
        self.columns = CONLLU if self.conllu else cells if self.header else [str(i + 1) for i in range(len(cells))]

    def records(self, report: Report | None = None) -> Iterator[Record]:
        """Sentences, with the line that each begins on. A line with too few or too many columns is an error, or, given a report, its sentence is left out."""
        rows: list[list[str]] = []
        fault, begin = "", 0
        with reading(self.entry) as file:
            lines = Lines(file, self.entry.name)
            skip = self.header
            for line in lines:
                if self._left_out(line):
                    continue
                if not line.strip():
                    if fault and report:
                        report.skipped(fault)
                    elif rows:
                        yield self._record(begin, rows)
                    rows, fault = [], ""
                    continue
                if skip:
                    skip = False
                    continue
                begin = begin if rows or fault else lines.number
                cells = self._cells(line)
                if len(cells) != len(self.columns):
                    fault = fault or f"line {lines.number}: it has {len(cells)} columns where {'the first line has' if not self.conllu else 'a .conllu has'} {len(self.columns)}"
                    if report is None:
                        raise TenorError(f"Broken line in {self.entry.name}, {fault}. Every word needs its tag: mend that line, or use --skip-bad to leave such sentences out.")
                elif not (self.conllu and not cells[0].isdigit()):  # 3-4 and 8.1 are no words of their own
                    rows.append(cells)
            if fault and report:
                report.skipped(fault)
            elif rows:
                yield self._record(begin, rows)
            if report:
                report.latin1 += lines.latin1

    def _record(self, line: int, rows: list[list[str]]) -> Record:
        return Record(line, {name: list(values) for name, values in zip(self.columns, zip(*rows, strict=True), strict=True)})

    def _cells(self, line: str) -> list[str]:
        return [c.strip() for c in line.rstrip("\r\n").split("\t")] if self.tabs else line.split()

    def _left_out(self, line: str) -> bool:
        return line.startswith("-DOCSTART-") or (self.conllu and line.startswith("#"))


def _is_header(cells: Sequence[str], wanted: Sequence[str]) -> bool:
    """A word of a sentence may be "Text", and a cell a number: the one is no name by itself, the other is a column's place."""
    if any(c in wanted and not c.isdigit() for c in cells):
        return True
    names = [c.casefold() for c in cells]
    tagged = not {*TAG_NAMES, *OTHER_TAG_NAMES}.isdisjoint(names)
    return len(cells) > 1 and any(n in WORD_NAMES for n in (names if tagged else names[:1]))


def column_table(entry: Entry, skip_bad: bool, wanted: Sequence[str]) -> Table:
    """A column file as a table with a sentence a row, whose cells are lists. Raises TenorError: it holds nothing."""
    found = ColumnFile(entry, wanted)
    return Table(entry.name, "columns", found.columns, found.header or found.conllu, None, lambda _, report: found.records(report if skip_bad else None))
