"""A model folder: written beside and renamed, verified when read; safetensors and JSON, nothing is executed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tenor.box.names import BOX
from tenor.compact import packed, unpacked
from tenor.errors import TenorError

FORMAT = 4  # of the folder; a reader refuses higher ones. 2: weights in few bytes, and a temperature; 3: a second classifier beside the first, ends of spans in taggers; 4: that second one is asked where the first is not sure, several networks in taggers and transcribers. What has none of these is read as before, and every folder that is written now says 4
_LIMIT = 64 << 20  # bytes of JSON that are read at most
_TOKENIZER, _SMALL_TOKENIZER = "tokenizer.json", "tokenizer.json.gz"  # 30,000 words: 470 KB, 200 KB
_SEALED = ("model.safetensors", "metrics.json", "history.jsonl")


class Words(NamedTuple):
    """What an error calls the two things that its reader can change: another place to write to, and leave to overwrite."""

    place: str
    leave: str


COMMAND, PYTHON = Words("--out", "--overwrite"), Words("folder", "overwrite=True")


@dataclass(frozen=True)
class Stored:
    """What a model folder holds."""

    config: dict[str, Any]
    tokenizer: str
    weights: dict[str, np.ndarray]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def check_name(out: Path, words: Words = COMMAND) -> None:
    """Raises TenorError if `out` has the name of a model in the box, which would be read in its place."""
    if str(out) in BOX:
        raise TenorError(f"{out} is a name kept for a model of Tenor's own, and that one would be read in its place. Choose another {words.place}.")


def check_free(out: Path, overwrite: bool, words: Words = COMMAND) -> None:
    """Raises TenorError if `out` exists and is not to be replaced or is no model folder, has the name of a model in the box, or could not be made."""
    check_name(out, words)
    if out.exists() and not overwrite:
        raise TenorError(f"{out} exists already, and nothing is overwritten unasked. Choose another {words.place}, or add {words.leave}.")
    if out.exists() and not (out / "config.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise TenorError(f"{words.leave} replaces a model folder or an empty one; {out} is neither, and stays as it is. Choose another {words.place}.")
    parent = out.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise TenorError(f"Cannot write below {parent}. Choose another {words.place}.")


def write(out: Path, stored: Stored, more: Mapping[str, bytes], overwrite: bool = False, words: Words = COMMAND) -> None:
    """Write a model folder; it appears whole or not at all.

    Args:
        out: the folder.
        stored: its main content. `config` gets the format's version and the files' checksums; its "weights" says how they are stored (compact.KINDS);
            in few bytes, the tokenizer is compressed too.
        more: other files by name (pictures, report, card).
        overwrite: replace what is there, once the new folder is complete.
        words: of the errors, for whoever called: COMMAND or PYTHON.

    Raises:
        TenorError: `out` exists and is not to be replaced, or the disk is full.
    """
    check_free(out, overwrite, words)
    kind, tokenizer = stored.config.get("weights", "float32"), stored.tokenizer.encode()
    files: dict[str, bytes] = {
        **({_TOKENIZER: tokenizer} if kind == "float32" else {_SMALL_TOKENIZER: gzip.compress(tokenizer, mtime=0)}),  # no clock: the same model, the same bytes
        "model.safetensors": save(packed(stored.weights, kind)),
        "metrics.json": _json(stored.metrics),
        "history.jsonl": "".join(json.dumps(e) + "\n" for e in stored.history).encode(),
    }
    seal = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    config = {"format": FORMAT} | stored.config | {"files": seal}
    config["sha256"] = _checksum(config)
    files["config.json"] = _json(config)
    files |= more
    beside: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))  # nobody else's name
        beside, old = room / "new", room / "old"
        beside.mkdir()
        for name, data in files.items():
            with open(beside / name, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        if out.exists():
            os.rename(out, old)
        os.rename(beside, out)
        shutil.rmtree(room)
    except OSError as error:
        if beside:
            if old.exists() and not out.exists():
                os.rename(old, out)
            shutil.rmtree(room, ignore_errors=True)
        raise TenorError(f"The model could not be written to {out} ({error.strerror}). Nothing was left half-written; free some space or choose another {words.place}.") from error


def check_there(folder: Path, starts: bool = False) -> None:
    """Raises TenorError if nothing is there, or no model folder. starts: a training is to start from it, so it may be of tenor pretrain too."""
    if not folder.exists():
        way = "What a training starts from is made with: tenor pretrain SOURCE --out {0} (texts without labels), or tenor train SOURCE --out {0}" if starts else "Make one with: tenor train SOURCE --out {0}"
        raise TenorError(f"{folder} does not exist. {way.format(folder)}")
    if not (folder / "config.json").is_file():
        raise TenorError(f"{folder} is no model folder (it has no config.json). Name a model folder; tenor train SOURCE --out FOLDER writes one.")


def read(folder: Path) -> Stored:
    """Read and verify a model folder; weights come back in float32, however they are stored.

    Raises:
        TenorError: no model folder, a file is missing, cut or changed, or a newer format.
    """
    check_there(folder)
    config = _read_json(folder / "config.json")
    version = config.get("format")
    if not isinstance(version, int):
        raise TenorError(f"{folder}/config.json names no format; this is no model folder of Tenor.")
    if version > FORMAT:
        raise TenorError(f"{folder} has format {version}, this Tenor reads up to {FORMAT}. Update Tenor: pip install --upgrade tenor")
    claimed = config.pop("sha256", None)
    if claimed != _checksum(config):
        raise TenorError(f"{folder}/config.json was changed or damaged after it was written (checksum differs). Copy the folder again, or train anew.")
    data = {}
    small = _SMALL_TOKENIZER in config.get("files", {})
    for name in (_SMALL_TOKENIZER if small else _TOKENIZER, *_SEALED):
        expected = config.get("files", {}).get(name)
        if expected is None:
            raise TenorError(f"{folder}/config.json does not name {name}; this is no model folder of Tenor.")
        path = folder / name
        if not path.is_file():
            raise TenorError(f"{folder} is incomplete: {name} is missing. Copy the folder again, or train anew.")
        data[name] = path.read_bytes() if path.stat().st_size == expected["bytes"] else b""
        if hashlib.sha256(data[name]).hexdigest() != expected["sha256"]:
            size = f"{path.stat().st_size:,} bytes instead of {expected['bytes']:,}" if not data[name] else "checksum differs"
            raise TenorError(f"{path} was cut, changed or damaged after it was written ({size}). Copy the folder again, or train anew.")
    try:
        weights = unpacked(load(data["model.safetensors"]), config.get("weights", "float32"))
    except SafetensorError as error:
        raise TenorError(f"{folder}/model.safetensors is no safetensors file ({error}). Copy the folder again, or train anew.") from error
    history = [json.loads(line) for line in data["history.jsonl"].decode().splitlines()]
    tokenizer = _unzipped(data[_SMALL_TOKENIZER], folder / _SMALL_TOKENIZER) if small else data[_TOKENIZER]
    return Stored(config, tokenizer.decode(), weights, json.loads(data["metrics.json"]), history)


def size(folder: Path) -> int:
    """Bytes of all files of a model folder."""
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file())


def _unzipped(data: bytes, path: Path) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as f:
            whole = f.read(_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TenorError(f"{path} cannot be unpacked ({error}). Copy the folder again, or train anew.") from error
    if len(whole) > _LIMIT:
        raise TenorError(f"{path} holds more than {_LIMIT >> 20} MB; that is no tokenizer of Tenor.")
    return whole


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise TenorError(f"{path} is larger than {_LIMIT >> 20} MB; that is no settings file of Tenor.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TenorError(f"{path} is not JSON ({error}). Copy the folder again, or train anew.") from error
    if not isinstance(value, dict):
        raise TenorError(f"{path} must hold a JSON object. Copy the folder again, or train anew.")
    return value


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _checksum(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
