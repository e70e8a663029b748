"""Texts as they are, for a model that writes: a plain file whole, with its lines; of tables and folders each text."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tenor.data import files
from tenor.data.sources import read_texts
from tenor.errors import TenorError

PLAIN = (".txt", ".md", ".text", "")  # a .txt may also be a table: with the column's name it is


class Texts(NamedTuple):
    """texts: not empty, each once; a plain file is one. notes: sentences for the user. test: texts of the data's own part "test", if any."""

    name: str
    texts: list[str]
    test: list[str]
    notes: list[str]


def read_plain_or_texts(path: Path, text: str | None = None, skip_bad: bool = False) -> Texts:
    """Read a plain file, or the texts of a table, folder or archive.

    Raises:
        TenorError: no such file, an empty one, no text, or as read_texts.
    """
    files.check_exists(path)
    if path.is_file() and text is None and not files.is_archive(path):
        entry = files.plain_entry(path)
        if entry.path.suffix.lower() in PLAIN:
            return _plain(entry)
    source = read_texts(path, text, skip_bad)
    kept = [r for r in source.rows if r.part != "test"]
    texts, test = (list(dict.fromkeys(r.text for r in rows if r.text)) for rows in (kept, [r for r in source.rows if r.part == "test"]))
    left = len(source.rows) - len(texts) - len(test)
    return Texts(source.name, texts, test, [*source.notes, *([f"{left:,} texts are empty or stand twice and are left out."] if left else [])])


def _plain(entry: files.Entry) -> Texts:
    with files.reading(entry) as f:
        data = f.read()
    files.check_is_text(data[:65_536], entry.name)
    notes = []
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        notes.append("The file is not UTF-8 and was read as Latin-1.")
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise TenorError(f"There is no text in {entry.name}, only white space. Give a file with text.")
    return Texts(entry.name, [text], [], notes)
