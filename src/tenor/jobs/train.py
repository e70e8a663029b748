"""`tenor train`: read, check, split, train, test once, compare with the linear baseline, draw, write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenor import store
from tenor.box.names import model_folder
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.columns import same_labels
from tenor.data.datasets import Progress, place_of
from tenor.errors import TenorError, plural
from tenor.jobs.prepare import Data, Order, prepare
from tenor.jobs.trainings import Course
from tenor.jobs.work import Say, clear_work, is_as_asked, is_finished, open_work, work_folder
from tenor.pipelines.classification import BESIDE, Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.results.baseline import baseline
from tenor.results.calibrate import calibrate
from tenor.results.curves import draw
from tenor.results.evaluate import compare, measure
from tenor.results.report import card, page
from tenor.tasks import DOES, task_of
from tenor.training.events import Events
from tenor.training.first import is_few
from tenor.training.fit import ENOUGH, last_is_kept
from tenor.training.loop import Outcome
from tenor.training.presets import GIVEN, Preset
from tenor.training.pretrain import kept_aside
from tenor.training.texts import Labelled


def train(order: Order, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics (see the model folder's metrics.json) with the history and the folder's path.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    start = Pretrained.read(order.start) if order.start else None
    teaching = {str(folder): store.read(model_folder(folder)) for folder in order.teachers}
    teachers = {folder: _teacher(folder, stored) for folder, stored in teaching.items()}
    wish = _preset(order, start, None)
    check(wish.text, wish.model, wish.train, wish.split)
    choose_device(wish.train.device)
    work = work_folder(order.out)
    done = _finished(order, start)
    if done:
        say("Resume", [f"{order.out} is finished already; nothing to do."])
        return done.metrics | {"model": str(order.out), "history": done.history}
    data = prepare(order, progress)
    prepared = time.perf_counter()
    preset = _preset(order, start, data.learnt(wish))
    _check_teachers(data, teachers, preset, start is not None)
    rows = data.tokenised(preset.text, start.tokenizer if start else None)
    counts = rows.tokens.counts(preset.text.max_tokens)
    tokenised = time.perf_counter()
    sentences = [*data.sentences, *_seen_by(teaching, start, order, wish), *_read_by(start, order, data, wish.split.how), *_lengths(counts, data.findings.train, preset.text.max_tokens), *_chosen_by(data, preset), *_beginning(order, start, data.names, preset, data.findings.train)]
    say("Data", sentences)
    course = Course(order, data, rows, preset, start, events, work, say)
    try:
        open_work(work, order.resume, say)
        before = course.before(teachers)
        learnt = time.perf_counter()
        pipeline, outcome = course.last(before)
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    finally:
        clear_work(work, only_empty=True)
    fitted = time.perf_counter()
    calibration = calibrate(pipeline, rows.validation_texts, rows.validation_targets)
    calibrated = time.perf_counter()
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "split": data.split.name,
        "data": data.findings.to_json() | counts | {"learnt_from": data.learnt(preset), "sentences": [*sentences, *before.told, *course.answer(before, pipeline)]},
        "kernel": pipeline.path,
        "calibration": calibration,
        "seconds": _seconds((began, prepared, tokenised, learnt, fitted, calibrated), outcome),
    }
    if outcome.finished and len(data.split.test):
        metrics |= _test(pipeline, data, rows, order)
        metrics["seconds"]["test_and_baseline"] = round(time.perf_counter() - calibrated, 2)
    metrics["seconds"]["all"] = round(time.perf_counter() - began, 2)
    try:
        _write(course, pipeline, outcome, metrics)
    except TenorError as error:
        raise TenorError(f"{error} The training is not lost: the same command with --resume writes it again.") from error
    if outcome.finished:
        clear_work(work)
    return metrics | {"model": str(order.out), "history": outcome.history}


def _seconds(times: tuple[float, ...], outcome: Outcome) -> dict[str, float]:
    began, prepared, tokenised, learnt, fitted, calibrated = times
    return {
        "read_and_check": round(prepared - began, 2),
        "vocabulary_and_ids": round(tokenised - prepared, 2),
        "trainings_before": round(learnt - tokenised, 2),
        "pairs_vectors_network": round(fitted - learnt - outcome.seconds, 2),
        "train": round(outcome.seconds, 2),
        "calibrate": round(calibrated - fitted, 2),
    }


def _preset(order: Order, start: Pretrained | None, rows: int | None) -> Preset:
    return order.preset(rows, start.settings if start else None)


def _finished(order: Order, start: Pretrained | None) -> store.Stored | None:
    """The model of a run that is to go on and has nothing left to do."""
    if not is_finished(order.out, order.resume, order.overwrite):
        return None
    stored = store.read(order.out)
    config = stored.config
    data = stored.metrics.get("data", {})
    preset = _preset(order, start, data.get("learnt_from", data.get("train")))
    wanted = {part: asdict(getattr(preset, part)) for part in ("text", "model", "train", "split")} | {"source": order.source, "test": order.test, "extra": order.extra, "start": _name(order.start)} | _taught_by(order, preset)
    earlier = {"teachers": [config["teacher"]] if config.get("teacher") else [], "language": None, "extra": None}  # what folders of before these settings mean
    if not stored.metrics.get("finished") or not is_as_asked(earlier | config, wanted):
        raise TenorError(f"{order.out} holds a model of another run, and there is no checkpoint of this one to go on with. Choose another --out, or start anew with --overwrite.")
    return stored


def _taught_by(order: Order, preset: Preset) -> dict[str, Any]:
    """The teachers, as a model folder records them."""
    language = preset.language and {part: asdict(getattr(preset.language, part)) for part in ("text", "model", "train")}
    return {"teachers": list(map(str, order.teachers)), "language": language}


def _name(start: Path | str | None) -> str | None:
    return None if start is None else str(start)


def _chosen_by(data: Data, preset: Preset) -> list[str]:
    aside = data.findings.validation
    if not aside or not last_is_kept(preset.train.schedule, aside, data.findings.train, len(data.others)):
        return []
    return [f"Of what learns from the texts without a label the last epoch is kept: they are more than those with one, and fewer than {ENOUGH:,} validation rows (here {aside:,}) would choose an epoch by chance."]


def _beginning(order: Order, start: Pretrained | None, labels: list[str], preset: Preset, rows: int) -> list[str]:
    if not start:
        return []
    if preset.language:
        return [f"A classifier that labels the rows without a label and may answer beside the small networks starts from {order.start}: tokens, sizes and weights. It learns by an adversary from the rows without a label too; where they are many this takes longer than all else. All networks read its tokens, and answers take longer. What starts there keeps its own settings: --epochs, --hidden and --embedding are of the small networks."]
    answers = "and answers: its labels are the same" if start.answers(labels, preset.model) else "but not answers: it knows other labels, or none"
    plain = order.preset(rows)  # as it would be without a start
    own, now = ({k: v for part in (p.text, p.model, p.train) for k, v in asdict(part).items()} for p in (plain, preset))
    changed = [f"{k} {now[k]} (not {own[k]})" for k in own if now[k] != own[k] and k not in (*GIVEN, "networks", "pairs", "vectors")]  # those are the start's own, as was said, or chosen by --networks
    held = ", ".join(f"{k} {now[k]}" for k in ("epochs", "batch_size", "learning_rate", "max_tokens") if now[k] == own[k])
    why = f"Because it starts there, not as in the preset: {', '.join(changed)}. All else is as in the preset or the command: {held}, and so on."
    second = ["Another network answers beside the others there: it is trained first, then the others, and they answer together again."] if start.beside else []
    return [f"Training starts from {order.start}: tokens, sizes and weights, {answers}.", *second, *([why] if changed else [])]


def _teacher(folder: str, stored: store.Stored) -> Pipeline:
    """With what stands beside asked of every text: students learn from it."""
    if (task := task_of(stored.config)) != "classify":
        raise TenorError(f"A teacher is a classifier that knows the labels of the data; {folder} {DOES[task]}. Name another, or leave --teacher out.")
    found = Pipeline.rebuilt(stored)
    found.sure = 1.0
    return found


def _check_teachers(data: Data, teachers: dict[str, Pipeline], preset: Preset, started: bool) -> None:
    """Before anything is overwritten or takes long."""
    for folder, teacher in teachers.items():
        if same_labels(data.names, teacher.labels) != list(range(len(data.names))):
            raise TenorError(f"A teacher must know the labels of the data, {', '.join(data.names)}; {folder} knows {', '.join(map(str, teacher.labels))}. Train it on them first.")
    if preset.language and is_few(data.findings.train) and not started:
        kept_aside(list(dict.fromkeys([*data.texts(data.split.train), *data.others])), preset.train.seed)


def _seen_by(teaching: dict[str, store.Stored], start: Pretrained | None, order: Order, preset: Preset) -> list[str]:
    """A sentence for each teacher, and a start that has learnt labels, that was trained on another division of the same source, or learnt one of the files here beside its own."""
    out = []
    known: dict[str, Mapping[str, Any]] = {folder: stored.config for folder, stored in teaching.items()}
    if start and start.labels:
        known[str(order.start)] = start.config
    for folder, c in known.items():
        same = c.get("test") == order.test and c.get("split") == asdict(preset.split) and c.get("train", {}).get("seed") == preset.train.seed
        learnt = {key: place_of(str(c[key])) for key in ("source", "extra") if c.get(key)}
        shared = {name for name in (order.source, order.test) if name and place_of(name) in learnt.values()}
        if same and learnt.get("source") == place_of(order.source):
            shared -= {order.source}
        if shared:
            out.append(f"{folder} was trained on another division of {' and '.join(sorted(shared))}: it may know rows that are validation or test rows here, and the results may be too good. Train it with the same --split and --seed.")
    return out


def _read_by(start: Pretrained | None, order: Order, data: Data, how: str) -> list[str]:
    """A sentence, if the start is a language model that has read the texts of the test rows: pretraining leaves out those of part test alone."""
    if not start or start.labels or "source" not in start.config:
        return []
    tested = order.test or order.source
    if not len(data.split.test) or (how == "official" and not order.test) or place_of(tested) != place_of(start.config["source"]):
        return []
    return [f"{order.start} was pretrained on {tested}. If that is as it was then, test rows are among the texts that it has read (never their labels), and new texts may go a little less well. To be sure, pretrain on a file without them."]


def _lengths(counts: dict[str, int], rows: int, limit: int) -> list[str]:
    out = [f"Texts have {counts['median_length']:,} tokens in the median, {counts['greatest_length']:,} at most."]
    if counts["texts_cut"]:
        share = counts["tokens_cut"] / counts["tokens"]
        out.append(f"{counts['texts_cut']:,} of {rows:,} training texts cut to {plural(limit, 'token')}, which loses {share:.1%} of all tokens. --max-tokens changes it.")
    return out


def _test(pipeline: Pipeline, data: Data, learnt: Labelled, order: Order) -> dict[str, Any]:
    """The only place where test rows meet a trained model, once."""
    rows, targets = [data.test_rows[i] for i in data.split.test], data.test_targets[data.split.test]
    began = time.perf_counter()
    shares, lengths = pipeline.probabilities([r.text for r in rows])
    test = measure(shares, targets, data.names, lengths)
    test["seconds"] = round(time.perf_counter() - began, 2)
    if not order.baseline:
        return {"test": test}
    linear, right = baseline(learnt.texts, learnt.targets, [r.text for r in rows], targets)
    return {"test": test, "baseline": linear, "versus_baseline": compare(shares.argmax(1) == targets, right)}


def _write(course: Course, pipeline: Pipeline, outcome: Outcome, metrics: dict[str, Any]) -> None:
    order, preset, beside = course.order, course.preset, course.settings_beside()
    config = {"train": asdict(preset.train), "split": asdict(preset.split), "source": order.source, "test": order.test, "extra": order.extra, "start": _name(order.start), "command": order.command} | _taught_by(order, preset)
    stored = pipeline.stored(config, metrics, outcome.history)
    if pipeline.beside and beside:
        stored.config[BESIDE] |= {"train": asdict(beside.train)}
    title = order.out.name
    files = {}
    svg = b"<svg/>"
    if outcome.history:
        files = draw(outcome.history, outcome.best_epoch, title, metrics.get("test", {}).get("accuracy"))
        svg = files["curves.svg"]
    files |= {"README.md": card(title, stored.config, metrics, outcome.history), "report.html": page(title, stored.config, metrics, outcome.history, svg)}
    store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)


