"""`tenor train`: read, check, split, train, test once, compare with the linear baseline, draw, write."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenor import store
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.checks import Findings, check_labels, check_rows
from tenor.data.columns import match_labels, order_labels
from tenor.data.datasets import Progress, resolve
from tenor.data.sources import Row, Rows, read_rows
from tenor.data.splits import Split, split_rows
from tenor.errors import TenorError
from tenor.pipeline import Pipeline
from tenor.results.baseline import baseline
from tenor.results.curves import draw
from tenor.results.evaluate import compare, measure
from tenor.results.report import card, page
from tenor.training.events import Events
from tenor.training.fit import fit
from tenor.training.loop import Outcome
from tenor.training.presets import Preset

Say = Callable[[str, list[str]], None]  # heading, sentences


@dataclass(frozen=True)
class Order:
    """What the user asked for."""

    source: str
    out: Path
    preset: Callable[[int | None], Preset]  # settings for a number of training rows
    test: str | None = None  # a second file
    text: str | None = None
    label: str | None = None
    stars: str = "classes"
    keep_overlap: bool = False
    skip_bad: bool = False
    baseline: bool = True
    resume: bool = False
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True)
class Data:
    """Rows with their labels as indexes, divided."""

    names: list[str]
    rows: list[Row]
    targets: np.ndarray
    test_rows: list[Row]
    test_targets: np.ndarray
    split: Split
    findings: Findings
    notes: list[str]

    def texts(self, which: np.ndarray) -> list[str]:
        return [self.rows[i].text for i in which]


def train(order: Order, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics (see the model folder's metrics.json) with the folder's path.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    work = order.out.with_name(order.out.name + ".training")
    wish = order.preset(None)
    check(wish.text, wish.model, wish.train)
    choose_device(wish.train.device)
    before = _check_out(order, work, say)
    if before:
        return before
    data = prepare(order, progress)
    if order.resume and not (work / "checkpoint.safetensors").exists():
        say("Resume", [f"No checkpoint at {work}: starting from the beginning."])
    sentences = data.notes + data.findings.sentences(dropped=not order.keep_overlap)
    sizes = f"{len(data.split.train):,} training, {len(data.split.validation):,} validation, {len(data.split.test):,} test rows (split: {data.split.name})."
    say("Data", [sizes, *sentences])
    _make(work)
    read_seconds = time.perf_counter() - began
    t, v = data.split.train, data.split.validation
    try:
        preset = order.preset(len(t))
        pipeline, outcome, counts = fit(data.names, data.texts(t), data.targets[t], data.texts(v), data.targets[v], preset, events, work)
    except TenorError:
        if not (work / "checkpoint.safetensors").exists():
            shutil.rmtree(work)
        raise
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    sentences += _cut_sentence(counts, len(t), preset.text.max_tokens)
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "split": data.split.name,
        "data": data.findings.to_json() | counts | {"sentences": [sizes, *sentences]},
        "kernel": pipeline.network.path,
        "seconds": {"read_and_check": round(read_seconds, 2), "train": round(outcome.seconds, 2)},
    }
    if outcome.finished and len(data.split.test):
        metrics |= _test(pipeline, data, order)
    metrics["seconds"]["all"] = round(time.perf_counter() - began, 2)
    _write(order, preset, pipeline, outcome, metrics)
    if outcome.finished:
        shutil.rmtree(work, ignore_errors=True)
    return metrics | {"model": str(order.out)}


def prepare(order: Order, progress: Progress | None = None) -> Data:
    """Read, divide and check; training rows that stand in the test are dropped unless to be kept."""
    source = _read(order.source, order, progress)
    check_labels([r.label for r in source.rows], source.name)
    names = order_labels(r.label for r in source.rows)
    targets = np.array(match_labels([r.label for r in source.rows], names, source.name), np.int64)
    second = _read(order.test, order, progress) if order.test else None
    test_rows = second.rows if second else source.rows
    if second and not test_rows:
        raise TenorError(f"No row of {second.name} has a label; a test file needs them. Choose the column with --label.")
    test_targets = np.array(match_labels([r.label for r in second.rows], names, second.name), np.int64) if second else targets
    parts = [r.part for r in source.rows]
    wish = order.preset(None)
    split = split_rows(targets.tolist(), parts, wish.split, wish.train.seed, len(test_rows) if second else None)
    findings = check_rows(source.rows, split.train, split.validation, split.test, test_rows, names, source.unlabelled)
    if not order.keep_overlap and findings.overlap:
        drop = np.array(findings.overlap)
        split = Split(np.setdiff1d(split.train, drop), np.setdiff1d(split.validation, drop), split.test, split.name)
        if len(set(targets[split.train].tolist())) < len(names):
            raise TenorError(f"All training rows of a label stand in the test rows too ({len(drop):,} rows were dropped). Give other test rows, or add --keep-overlap.")
    notes = list(source.notes) + (second.notes if second else [])
    bad = source.bad + (second.bad if second else [])
    if bad:
        notes.append(f"{len(bad):,} broken lines were left out: {'; '.join(bad[:3])}{' ...' if len(bad) > 3 else ''}.")
    if {"train", "test"} <= set(parts) and wish.split.how != "official" and not second:
        notes.append("The data has a split of its own into train and test; --split official uses it.")
    return Data(names, source.rows, targets, test_rows, test_targets, split, findings, notes)


def _read(source: str, order: Order, progress: Progress | None) -> Rows:
    return read_rows(resolve(source, progress), order.text, order.label, order.stars, order.skip_bad)


def _check_out(order: Order, work: Path, say: Say) -> dict[str, Any] | None:
    """Refuse what would be overwritten; a finished run that is to be resumed is answered with its metrics."""
    if order.resume and order.out.exists():
        metrics = store.read(order.out).metrics
        if metrics.get("finished"):
            say("Resume", [f"{order.out} is finished already; nothing to do."])
            return metrics | {"model": str(order.out)}
    else:
        store.check_free(order.out, order.overwrite)
    if not order.resume and work.exists():
        if not order.overwrite:
            raise TenorError(f"An earlier run stopped before its end; its state is in {work}. Go on with --resume, or start anew with --overwrite.")
        shutil.rmtree(work)
    return None


def _make(work: Path) -> None:
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TenorError(f"Cannot write to {work} ({error.strerror}). Choose another --out.") from error


def _cut_sentence(counts: dict[str, int], rows: int, limit: int) -> list[str]:
    if not counts["texts_cut"]:
        return []
    return [
        f"{counts['texts_cut']:,} of {rows:,} training texts are longer than {limit} tokens and were cut: "
        f"{counts['tokens_cut'] / counts['tokens']:.1%} of all tokens. --max-tokens changes it."
    ]


def _test(pipeline: Pipeline, data: Data, order: Order) -> dict[str, Any]:
    """The only place where test rows meet a trained model, once."""
    rows, targets = [data.test_rows[i] for i in data.split.test], data.test_targets[data.split.test]
    began = time.perf_counter()
    shares, lengths = pipeline.probabilities([r.text for r in rows])
    test = measure(shares, targets, data.names, lengths)
    test["seconds"] = round(time.perf_counter() - began, 2)
    if not order.baseline:
        return {"test": test}
    t = data.split.train
    linear, right = baseline(data.texts(t), data.targets[t], [r.text for r in rows], targets)
    return {"test": test, "baseline": linear, "versus_baseline": compare(shares.argmax(1) == targets, right)}


def _write(order: Order, preset: Preset, pipeline: Pipeline, outcome: Outcome, metrics: dict[str, Any]) -> None:
    config = {"train": asdict(preset.train), "split": asdict(preset.split) | {"test": order.test}, "source": order.source, "command": order.command}
    stored = pipeline.stored(config, metrics, outcome.history)
    title = order.out.name
    files = {}
    svg = b"<svg/>"
    if outcome.history:
        files = draw(outcome.history, outcome.best_epoch, title, metrics.get("test", {}).get("accuracy"))
        svg = files["curves.svg"]
    files |= {"README.md": card(title, stored.config, metrics, outcome.history), "report.html": page(title, stored.config, metrics, outcome.history, svg)}
    store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)


