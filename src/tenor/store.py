"""A model folder: written beside and renamed, verified when read; safetensors and JSON, nothing is executed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tenor.errors import TenorError

FORMAT = 1  # of the folder; a reader refuses higher ones
_LIMIT = 64 << 20  # bytes of JSON that are read at most
_SEALED = ("tokenizer.json", "model.safetensors")


@dataclass(frozen=True)
class Stored:
    """What a model folder holds."""

    config: dict[str, Any]
    tokenizer: str
    weights: dict[str, np.ndarray]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def check_free(out: Path, overwrite: bool) -> None:
    """Raises TenorError if `out` exists and is not to be replaced, or could not be made."""
    if out.exists() and not overwrite:
        raise TenorError(f"{out} exists already, and nothing is overwritten unasked. Choose another --out, or add --overwrite.")
    parent = out.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise TenorError(f"Cannot write below {parent}. Choose another --out.")


def write(out: Path, stored: Stored, more: Mapping[str, bytes], overwrite: bool = False) -> None:
    """Write a model folder; it appears whole or not at all.

    Args:
        out: the folder.
        stored: its main content. `config` gets the format's version and the files' checksums.
        more: other files by name (pictures, report, card).
        overwrite: replace what is there, once the new folder is complete.

    Raises:
        TenorError: `out` exists and is not to be replaced, or the disk is full.
    """
    check_free(out, overwrite)
    beside, old = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    files: dict[str, bytes] = {"tokenizer.json": stored.tokenizer.encode(), "model.safetensors": save(stored.weights)}
    seal = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    config = {"format": FORMAT} | stored.config | {"files": seal}
    config["sha256"] = _checksum(config)
    files["config.json"] = _json(config)
    files["metrics.json"] = _json(stored.metrics)
    files["history.jsonl"] = "".join(json.dumps(e) + "\n" for e in stored.history).encode()
    files |= more
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, data in files.items():
            with open(beside / name, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(out, old)
        os.rename(beside, out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists() and not out.exists():
            os.rename(old, out)
        raise TenorError(f"The model could not be written to {out} ({error.strerror}). Nothing was left half-written; free some space or choose another --out.") from error


def read(folder: Path) -> Stored:
    """Read and verify a model folder.

    Raises:
        TenorError: no model folder, a file is missing, cut or changed, or a newer format.
    """
    if not folder.is_dir() or not (folder / "config.json").is_file():
        what = "is no model folder (it has no config.json)" if folder.exists() else "does not exist"
        raise TenorError(f"{folder} {what}. Make one with: tenor train SOURCE --out {folder}")
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
    for name in _SEALED:
        expected = config["files"][name]
        path = folder / name
        if not path.is_file():
            raise TenorError(f"{folder} is incomplete: {name} is missing. Copy the folder again, or train anew.")
        data[name] = path.read_bytes() if path.stat().st_size == expected["bytes"] else b""
        if hashlib.sha256(data[name]).hexdigest() != expected["sha256"]:
            size = f"{path.stat().st_size:,} bytes instead of {expected['bytes']:,}" if not data[name] else "checksum differs"
            raise TenorError(f"{path} was cut, changed or damaged after it was written ({size}). Copy the folder again, or train anew.")
    try:
        weights = load(data["model.safetensors"])
    except SafetensorError as error:
        raise TenorError(f"{folder}/model.safetensors is no safetensors file ({error}). Copy the folder again, or train anew.") from error
    history_file, metrics_file = folder / "history.jsonl", folder / "metrics.json"
    history = [json.loads(line) for line in history_file.read_text().splitlines()] if history_file.is_file() else []
    metrics = _read_json(metrics_file) if metrics_file.is_file() else {}
    return Stored(config, data["tokenizer.json"].decode(), weights, metrics, history)


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
