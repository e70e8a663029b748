"""`tenor train --task`: from a source to a model folder, for every task but classification."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from tenor import store
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.datasets import Progress
from tenor.errors import TenorError
from tenor.jobs.kinds import Made, TaskOrder, kind_of
from tenor.jobs.work import Say, clear_work, is_as_asked, is_finished, open_work, work_folder
from tenor.results.curves import draw
from tenor.training.events import Events
from tenor.training.loop import Outcome


def train_task(order: TaskOrder, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics with the history and the folder's path.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    kind, preset = kind_of(order.task), order.preset
    check(preset.text, preset.model, preset.train, preset.split)
    choose_device(preset.train.device)
    work = work_folder(order.out)
    if is_finished(order.out, order.resume, order.overwrite):
        return _finished(order, say)
    parts = kind.read(order, progress)
    say("Data", parts.notes)
    try:
        open_work(work, order.resume, say)
        made, outcome = kind.fit(parts, preset, events, work)
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    finally:
        clear_work(work, only_empty=True)
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "data": parts.counts | {"sentences": parts.notes},
        "kernel": made.path,
        **kind.results(made, parts if outcome.finished else replace(parts, test=[])),  # test rows are read once, at the end
    }
    metrics["seconds"] = {"train": round(outcome.seconds, 2), "all": round(time.perf_counter() - began, 2)}
    _write(order, made, outcome, metrics)
    if outcome.finished:
        clear_work(work)
    return metrics | {"model": str(order.out), "history": outcome.history}


def _asked(order: TaskOrder) -> dict[str, Any]:
    """What decides the model, as its folder records it."""
    return {part: asdict(getattr(order.preset, part)) for part in ("text", "model", "train", "split")} | {"task": order.task, "source": order.source, "columns": [order.text, order.label]}


def _finished(order: TaskOrder, say: Say) -> dict[str, Any]:
    done = store.read(order.out)
    if not done.metrics.get("finished") or not is_as_asked(done.config, _asked(order)):
        raise TenorError(f"{order.out} holds a model of another run, and there is no checkpoint of this one to go on with. Choose another --out, or start anew with --overwrite.")
    say("Resume", [f"{order.out} is finished already; nothing to do."])
    return done.metrics | {"model": str(order.out), "history": done.history}


def _write(order: TaskOrder, made: Made, outcome: Outcome, metrics: dict[str, Any]) -> None:
    stored = made.stored(_asked(order) | {"command": order.command}, metrics, outcome.history)
    files = draw(outcome.history, outcome.best_epoch, order.out.name) if outcome.history else {}
    files["README.md"] = kind_of(order.task).card(order.out.name, stored.config, metrics, outcome.history)
    try:
        store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)
    except TenorError as error:
        raise TenorError(f"{error} The training is not lost: the same command with --resume writes it again.") from error
