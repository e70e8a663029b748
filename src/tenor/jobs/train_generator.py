"""`tenor train --task generate`: texts to a model folder that goes on with them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenor import store
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.datasets import Progress, resolve
from tenor.data.plain import Texts, read_plain_or_texts, validation_of_texts
from tenor.errors import TenorError, plural
from tenor.generation import Generation
from tenor.jobs.work import Say, clear_work, is_finished, open_work, work_folder
from tenor.results.curves import draw
from tenor.results.report import generator_card
from tenor.training.events import Events
from tenor.training.generate import fit
from tenor.training.loop import Outcome
from tenor.training.presets import Preset


@dataclass(frozen=True)
class GeneratorOrder:
    """What the user asked for."""

    source: str
    out: Path
    preset: Preset
    text: str | None = None
    skip_bad: bool = False
    resume: bool = False
    overwrite: bool = False
    command: str = ""


def train_generator(order: GeneratorOrder, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics with the history and the folder's path. Rows of the source's own part "test" are left out.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    preset = order.preset
    check(preset.text, preset.model, preset.train, preset.split)
    choose_device(preset.train.device)
    work = work_folder(order.out)
    if is_finished(order.out, order.resume, order.overwrite):
        done = store.read(order.out)
        wanted = {part: asdict(getattr(preset, part)) for part in ("text", "model", "train", "split")} | {"source": order.source}
        if not done.metrics.get("finished") or any(done.config.get(k) != v for k, v in wanted.items()):
            raise TenorError(f"{order.out} holds a model of another run, and there is no checkpoint of this one to go on with. Choose another --out, or start anew with --overwrite.")
        say("Resume", [f"{order.out} is finished already; nothing to do."])
        return done.metrics | {"model": str(order.out), "history": done.history}
    source = read_plain_or_texts(resolve(order.source, progress), order.text, order.skip_bad)
    texts, aside, sentences = _divided(source, preset)
    say("Data", sentences)
    try:
        open_work(work, order.resume, say)
        made, outcome = fit(texts, aside, preset, events, work)
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    finally:
        clear_work(work, only_empty=True)
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "data": {"texts": len(texts), "characters": sum(map(len, texts)), "vocabulary": len(made.pieces), "sentences": sentences},
        "kernel": made.network.path,
    }
    if aside:
        metrics["validation"] = made.measure(aside)
    metrics["seconds"] = {"train": round(outcome.seconds, 2), "all": round(time.perf_counter() - began, 2)}
    _write(order, made, outcome, metrics)
    if outcome.finished:
        clear_work(work)
    return metrics | {"model": str(order.out), "history": outcome.history}


def _divided(source: Texts, preset: Preset) -> tuple[list[str], list[str], list[str]]:
    """Texts to learn from, texts to choose the epoch by, and sentences on both."""
    sentences = list(source.notes)
    if source.test:
        sentences.append(f"{plural(len(source.test), 'text')} of part test are left out, so that they stay unseen.")
    texts, aside = validation_of_texts(source.texts, preset.split.validation or 0.0, preset.train.seed)
    where = "its end" if len(source.texts) == 1 else f"{plural(len(aside), 'text')} of {len(source.texts):,}"
    kept = f", and {sum(map(len, aside)):,} to choose the epoch by ({where})" if aside else "; none is kept aside, so the last epoch is kept"
    return texts, aside, [*sentences, f"{sum(map(len, texts)):,} characters to learn from{kept}."]


def _write(order: GeneratorOrder, made: Generation, outcome: Outcome, metrics: dict[str, Any]) -> None:
    preset = order.preset
    stored = made.stored({"train": asdict(preset.train), "split": asdict(preset.split), "source": order.source, "command": order.command}, metrics, outcome.history)
    files = draw(outcome.history, outcome.best_epoch, order.out.name) if outcome.history else {}
    files["README.md"] = generator_card(order.out.name, stored.config, metrics, outcome.history)
    try:
        store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)
    except TenorError as error:
        raise TenorError(f"{error} The training is not lost: the same command with --resume writes it again.") from error
