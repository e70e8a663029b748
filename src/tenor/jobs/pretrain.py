"""`tenor pretrain`: texts without labels to a model folder that a training can start from."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenor import store
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.datasets import Progress, resolve
from tenor.data.parts import is_test
from tenor.data.sources import read_texts
from tenor.errors import TenorError, plural
from tenor.jobs.work import Say, clear_work, is_finished, open_work, work_folder
from tenor.results.report import pretrained_card
from tenor.training.events import Events
from tenor.training.presets import Preset
from tenor.training.pretrain import DRAWS, kept_aside
from tenor.training.pretrain import pretrain as train_language
from tenor.training.texts import Tokenised


@dataclass(frozen=True)
class PretrainOrder:
    """What the user asked for."""

    source: str
    out: Path
    preset: Preset
    text: str | None = None
    skip_bad: bool = False
    resume: bool = False
    overwrite: bool = False
    command: str = ""


def pretrain(order: PretrainOrder, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics with the history and the folder's path. Rows of the source's own part "test" are left out.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    preset = order.preset
    check(preset.text, preset.model, preset.train)
    choose_device(preset.train.device)
    work = work_folder(order.out)
    if is_finished(order.out, order.resume, order.overwrite):
        done = store.read(order.out)
        say("Resume", [f"{order.out} is finished already; nothing to do."])
        return done.metrics | {"model": str(order.out), "history": done.history}
    texts, sentences = _texts(order, progress)
    learn, aside = kept_aside(texts, preset.train.seed)
    tokens = Tokenised.of(learn, preset.text)
    counts = tokens.counts(preset.text.max_tokens)
    sentences.append(f"{len(learn):,} texts to learn from, {len(aside):,} to check on; {counts['tokens']:,} tokens, {counts['median_length']:,} a text in the median.")
    say("Data", sentences)
    try:
        open_work(work, order.resume, say)
        found, outcome = train_language(tokens, aside, preset, events, work)
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    finally:
        clear_work(work, only_empty=True)
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "draws": DRAWS,
        "data": {"texts": len(learn), "validation": len(aside), "sentences": sentences} | counts,
        "seconds": {"train": round(outcome.seconds, 2), "all": round(time.perf_counter() - began, 2)},
    }
    config = {"train": asdict(preset.train), "source": order.source, "command": order.command}
    stored = found.stored(config, metrics, outcome.history)
    files = {"README.md": pretrained_card(order.out.name, stored.config, metrics, outcome.history)}
    try:
        store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)
    except TenorError as error:
        raise TenorError(f"{error} The training is not lost: the same command with --resume writes it again.") from error
    if outcome.finished:
        clear_work(work)
    return metrics | {"model": str(order.out), "history": outcome.history}


def _texts(order: PretrainOrder, progress: Progress | None) -> tuple[list[str], list[str]]:
    """Distinct texts that are no test rows, and sentences on what was left out."""
    source = read_texts(resolve(order.source, progress), order.text, order.skip_bad)
    sentences = list(source.notes)
    kept = [r.text for r in source.rows if not is_test(r.part)]
    if len(kept) < len(source.rows):
        sentences.append(f"{plural(len(source.rows) - len(kept), 'row')} of part test left out, to stay unseen.")
    texts = [t for t in dict.fromkeys(kept) if t]
    if len(texts) < len(kept):
        sentences.append(f"{plural(len(kept) - len(texts), 'text')} left out, empty or standing there already.")
    return texts, sentences


