"""Bytes and lines from plain files, folders and archives, streamed; nothing is unpacked to disk."""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tenor.errors import TenorError, nearest

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_NOT_TEXT = {b"%PDF": "a PDF", b"\x89PNG": "a PNG picture", b"\xd0\xcf\x11\xe0": "an Office document", b"SQLite": "a database"}
BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)


@dataclass(frozen=True)
class Entry:
    """One file, on disk or inside an archive: its name (with folders) and how to open it."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.name)


def first_bytes(path: Path, count: int = 65_536) -> bytes:
    with open(path, "rb") as f:
        return f.read(count)


def is_archive(path: Path) -> bool:
    """True for zip and (compressed) tar; a single gzipped file is no archive."""
    return path.is_file() and (first_bytes(path, 4) == _ZIP or path.suffix.lower() == ".zip" or _is_tar(path))


def _is_tar(path: Path) -> bool:
    named = path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))
    return named or (first_bytes(path, 2) not in (_GZIP, b"\0\0") and tarfile.is_tarfile(path))  # for tarfile, zeros are an empty tar


def check_exists(path: Path) -> None:
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise TenorError(f"No such file or folder: {path}{nearest(path.name, beside)}")
    if path.is_file() and path.stat().st_size == 0:
        raise TenorError(f"The file is empty: {path}. It needs at least one row: a text, and for training and evaluation a label.")


def plain_entry(path: Path) -> Entry:
    """A file on disk; gzip is undone."""
    gzipped = first_bytes(path, 2) == _GZIP
    if path.suffix.lower() == ".gz" and not gzipped:
        raise TenorError(f"Corrupt archive: {path} is named .gz but its bytes are not gzip. Fetch or write it again.")
    name = path.name[:-3] if path.suffix.lower() == ".gz" else path.name
    if gzipped:
        return Entry(name, lambda: gzip.open(path, "rb"))  # type: ignore[arg-type,return-value]
    return Entry(name, lambda: open(path, "rb"))


def folder_entries(folder: Path) -> Iterator[Entry]:
    """Every file below a folder, in the order of names."""

    def refuse(error: OSError) -> None:
        raise TenorError(f"{error.filename} cannot be read ({error.strerror}). Change its permissions, or move it away.")

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for file in sorted(files):
            full = Path(here) / file
            yield Entry(full.relative_to(folder).as_posix(), lambda p=full: open(p, "rb"))  # type: ignore[misc]


def archive_entries(path: Path) -> Iterator[Entry]:
    """Every file in a zip or tar; an entry must be read before the next is taken.

    Raises TenorError for a broken archive and for names that climb out of it.
    """
    try:
        if first_bytes(path, 4) == _ZIP:
            with zipfile.ZipFile(path) as z:
                for info in z.infolist():
                    if info.flag_bits & 1:
                        raise TenorError(f"{path} is locked with a password. Unpack it first.")
                    if not info.is_dir() and _inside(path, info.filename):
                        yield Entry(info.filename, lambda i=info: z.open(i))  # type: ignore[misc]
            return
        with tarfile.open(path, "r|*") as t:
            for member in t:
                if (member.issym() or member.islnk()) and _inside(path, member.linkname):
                    continue
                if _inside(path, member.name) and member.isfile():
                    yield Entry(member.name, lambda m=member: closing(t.extractfile(m)))  # type: ignore[misc,type-var,arg-type]
            if t.fileobj and t.fileobj.tell() < t.offset + tarfile.BLOCKSIZE:  # tarfile itself takes a cut header for the end
                raise tarfile.ReadError("it ends too early")
    except BROKEN_ARCHIVE as error:
        raise TenorError(f"Corrupt archive: {path} cannot be read to its end ({error}). Fetch or write it again.") from error


def _inside(archive: Path, name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise TenorError(f"{archive} holds a path that climbs out of it: {name!r}. Nothing was read; do not trust this archive.")
    return not any(p.startswith("._") or p == "__MACOSX" for p in parts)


@contextmanager
def reading(entry: Entry) -> Iterator[IO[bytes]]:
    """Open an entry; damage found while reading (also of a gzip) becomes a TenorError."""
    try:
        with entry.open() as f:
            yield f
    except BROKEN_ARCHIVE as error:
        raise TenorError(f"Corrupt archive: {entry.name} cannot be read to its end ({error}). Fetch or write it again.") from error


def check_is_text(head: bytes, name: str) -> None:
    """Raise TenorError if the first bytes of a file are no text."""
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise TenorError(f"{name} is {what}, not a table of texts. Save it as CSV, TSV, JSONL or Parquet.")
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head:
        raise TenorError(f"{name} holds binary data (a zero byte), not text. Save it as CSV, TSV, JSONL or Parquet.")


def decode(line: bytes) -> str:
    """UTF-8, else Latin-1, which takes any byte."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


class Lines:
    """Decoded lines of a binary file, one by one, with their numbers.

    UTF-8, with or without a mark; a line that is not UTF-8 is read as Latin-1 and counted in `latin1`. UTF-16 is
    recognised by its mark. `give_back` returns lines that were read too far.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        buffered = io.BufferedReader(file, 1 << 20)  # type: ignore[type-var]
        head = buffered.peek(65_536)[:65_536]
        check_is_text(head.partition(b"\n")[0], name)  # a zero byte further down is a broken line, with a number
        self.name = name
        self.latin1 = 0
        self.number = 0  # of the line that came last; the first is 1
        self._back: list[str] = []
        self._file = buffered  # kept alive: it closes what it reads when it goes
        self._lines: Iterator[Any] = buffered
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            self._lines = _utf16_lines(buffered)

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        self.number += 1
        if self._back:
            return self._back.pop()
        try:
            line = next(self._lines)
        except StopIteration:
            self.number -= 1
            raise
        except UnicodeDecodeError as error:
            raise TenorError(f"{self.name} is marked as UTF-16 and is not, near line {self.number} ({error.reason}). Save it as UTF-8.") from error
        return line if isinstance(line, str) else self._decoded(line)

    def _decoded(self, line: bytes) -> str:
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            self.latin1 += 1
            return decode(line)

    def give_back(self, lines: list[str]) -> None:
        """The next lines will be these again."""
        self._back.extend(reversed(lines))
        self.number -= len(lines)


def _utf16_lines(file: IO[bytes]) -> Iterator[str]:
    """Only \\n ends a line, as with bytes. (io.TextIOWrapper does not take a member of a tar that is streamed.)"""
    rest = ""
    for piece in codecs.iterdecode(iter(lambda: file.read(1 << 20), b""), "utf-16"):
        *lines, rest = (rest + piece).split("\n")
        yield from (line + "\n" for line in lines)
    if rest:
        yield rest
