"""Named data sets: where they are found, how they are fetched and verified."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenor.errors import TenorError, nearest

_BLOCK = 1 << 18
Progress = Callable[[int, int], None]  # bytes so far, bytes in all


@dataclass(frozen=True)
class DataSet:
    """`names`: what its file or folder is called in $TENOR_DATA or the cache, in the order of preference."""

    name: str
    about: str
    names: tuple[str, ...] = ()
    url: str = ""
    bytes: int = 0
    md5: str = ""


DATA_SETS = {
    "imdb": DataSet(
        "imdb",
        "film reviews, officially 50,000 with a label and 50,000 without (Maas et al. 2011); for research",
        ("imdb.parquet", "aclImdb", "aclImdb_v1.tar.gz", "IMDB Dataset.csv"),
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        84_125_825,
        "7c2ac02c03563afcf9b574c7e56c153a",  # as torchtext 0.18 has it (torchtext/datasets/imdb.py)
    ),
    "sample": DataSet("sample", "short reviews of restaurants, gadgets, hotels, apps and books, written for Tenor; in the package"),
}


def cache_folder() -> Path:
    """$TENOR_CACHE, else tenor in the user's cache folder."""
    if os.environ.get("TENOR_CACHE"):
        return Path(os.environ["TENOR_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenor"


def place_of(source: str) -> Path | str:
    """By which two names of one source are the same."""
    found = find(DATA_SETS[source]) if source in DATA_SETS else Path(source).expanduser()
    return found.resolve() if found else source


def find(data_set: DataSet) -> Path | None:
    """Where it lies on this machine, or None."""
    if data_set.name == "sample":
        return Path(__file__).with_name("sample.csv")
    folders = [Path(os.environ["TENOR_DATA"])] if os.environ.get("TENOR_DATA") else []
    places = (folder / name for folder in [*folders, cache_folder()] for name in data_set.names)
    return next((p for p in places if p.exists()), None)


def is_official(data_set: DataSet, place: Path) -> bool | None:
    """Is the file the one that the data set's home gives? None: another form of it, which has no checksum."""
    if not place.is_file() or place.name != data_set.url.rsplit("/", 1)[-1]:
        return None
    with open(place, "rb") as f:
        return hashlib.file_digest(f, "md5").hexdigest() == data_set.md5


def resolve(source: str, progress: Progress | None = None) -> Path:
    """SOURCE of a command: the name of a data set (fetched where it is not found), else a path (a folder called imdb is ./imdb).

    Raises:
        TenorError: neither a path nor a name, or it cannot be fetched.
    """
    path = Path(source).expanduser()
    if source not in DATA_SETS:
        if not path.exists() and path.name == source and "." not in source:
            raise TenorError(f"No file or folder {source!r} here, and no data set of that name{nearest(source, DATA_SETS)} Data sets: {', '.join(DATA_SETS)}.")
        return path
    return find(DATA_SETS[source]) or fetch(DATA_SETS[source], cache_folder(), progress)


def fetch(data_set: DataSet, folder: Path, progress: Progress | None = None) -> Path:
    """Download into a folder, going on with what an earlier try left, and verify.

    Raises:
        TenorError: no connection, no space, or other bytes than expected (they are deleted).
    """
    target = folder / data_set.url.rsplit("/", 1)[-1]
    part = target.with_name(target.name + ".part")
    by_hand = f"Or fetch {data_set.url} by other means and put it at {target}."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(data_set, part, progress)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise TenorError(f"{data_set.name} could not be downloaded ({getattr(error, 'reason', error)}). Try again, it goes on where it stopped. {by_hand}") from error
    except OSError as error:
        raise TenorError(f"{data_set.name} could not be written to {folder} ({error.strerror}). Set TENOR_CACHE to a folder with space.") from error
    size = part.stat().st_size
    if size < data_set.bytes:
        raise TenorError(f"The download of {data_set.name} ended after {size:,} of {data_set.bytes:,} bytes. Try again, it goes on there. {by_hand}")
    with open(part, "rb") as f:
        found = hashlib.file_digest(f, "md5").hexdigest()
    if found != data_set.md5:
        part.unlink()
        raise TenorError(f"{data_set.url} gave other bytes than expected (md5 {found}, not {data_set.md5}); they were deleted. Try again. {by_hand}")
    os.replace(part, target)
    return target


def _download(data_set: DataSet, part: Path, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have == data_set.bytes:
        return
    if have > data_set.bytes:
        part.unlink()
        have = 0
    request = urllib.request.Request(data_set.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        if answer.status != 206:  # the server does not do ranges: from the start
            have = 0
        with open(part, "ab" if have else "wb") as f:
            while block := answer.read(_BLOCK):
                f.write(block)
                have += len(block)
                if have > data_set.bytes:  # not what was asked for; the checksum will say so
                    break
                if progress:
                    progress(have, data_set.bytes)
