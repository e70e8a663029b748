"""Texts as they are, for a model that writes: a plain file whole, with its lines; of tables and folders each text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tenor.data import files
from tenor.data.parts import is_test
from tenor.data.sources import read_texts
from tenor.errors import TenorError

PLAIN = (".txt", ".md", ".text", "")  # a .txt may also be a table: with the column's name it is


class Texts(NamedTuple):
    """texts: not empty, each once; a plain file is one. notes: sentences for the user. test: texts of the data's own test parts, if any."""

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
    texts, test = (list(dict.fromkeys(r.text for r in source.rows if r.text and is_test(r.part) == asked)) for asked in (False, True))
    unseen = {t.casefold() for t in test}
    texts = [t for t in texts if t.casefold() not in unseen]
    left = len(source.rows) - len(texts) - len(test)
    return Texts(source.name, texts, test, [*source.notes, *([f"{left:,} texts are empty, stand twice or are texts of part test too, and are left out."] if left else [])])


def validation_of_texts(texts: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Texts to learn from, and texts to choose the epoch by: the end of a single one, of several a share of them drawn at random.

    Raises:
        TenorError: there is no text, or the share is not below 1.
    """
    if not texts:
        raise TenorError("There is no text to learn from. Choose the right column with --text.")
    if share >= 1:
        raise TenorError(f"Of texts that are read on and on, validation is a share below 1; got {share:g}. Use --validation 0.1 for a tenth.")
    if len(texts) == 1:
        edge = len(texts[0]) - round(len(texts[0]) * share)
        return [texts[0][:edge]], [texts[0][edge:]] if len(texts[0]) - edge > 1 else []
    order = np.random.default_rng(seed).permutation(len(texts))
    aside = round(len(texts) * share)
    return [texts[i] for i in np.sort(order[aside:])], [texts[i] for i in np.sort(order[:aside])]


def _plain(entry: files.Entry) -> Texts:
    with files.reading(entry) as f:
        data = f.read()
    files.check_is_text(data[:65_536], entry.name)
    notes = []
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise TenorError(f"{entry.name} begins as UTF-16 and does not go on so: {error.reason} at byte {error.start:,} of {len(data):,}. The file is cut or damaged; copy it again.") from error
        text = data.decode("latin-1")
        notes.append("The file is not UTF-8 and was read as Latin-1.")
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise TenorError(f"There is no text in {entry.name}, only white space. Give a file with text.")
    return Texts(entry.name, [text], [], notes)
