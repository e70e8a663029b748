"""The folder of a run while it trains: OUT.training beside OUT, with what it needs to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenor import store
from tenor.errors import TenorError
from tenor.training.checkpoint import as_known_later
from tenor.training.loop import CHECKPOINT, HISTORY

Say = Callable[[str, list[str]], None]  # heading, sentences


def work_folder(out: Path) -> Path:
    return out.with_name(out.name + ".training")


def is_finished(out: Path, resume: bool, overwrite: bool) -> bool:
    """True if a run is to go on that wrote its model already.

    Raises:
        TenorError: something would be overwritten, or `out` has the name of a model in the box.
    """
    store.check_name(out)
    work = work_folder(out)
    begun = _begun(work)
    if not resume:
        store.check_free(out, overwrite)
        if begun and not overwrite:
            raise TenorError(f"An earlier run stopped before its end; its state is in {work}. Go on with --resume, or start anew with --overwrite.")
        return False
    return not begun and out.exists()


def open_work(work: Path, resume: bool, say: Say) -> None:
    if not resume:
        clear_work(work)
    elif not _begun(work):
        say("Resume", [f"No checkpoint in {work}: starting from the beginning."])
    work.mkdir(parents=True, exist_ok=True)


def clear_work(work: Path, only_empty: bool = False) -> None:
    """Remove the folder of a run and what the loop wrote there; whatever else is in it stays."""
    for folder in [f for f in work.glob("*") if f.is_dir()]:
        clear_work(folder, only_empty)
    if not only_empty:
        for name in (CHECKPOINT, HISTORY):
            (work / name).unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _begun(work: Path) -> bool:
    return any(work.rglob(CHECKPOINT))  # a run of several trainings has a folder for each


def is_as_asked(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a model folder's record is what a training asks for."""
    for name, value in wanted.items():
        found = config.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            found = as_known_later(value) | found
        if found != value:
            return False
    return True
