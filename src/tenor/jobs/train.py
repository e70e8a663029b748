"""`tenor train`: read, check, split, train, test once, compare with the linear baseline, draw, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tenor import store
from tenor.box.names import model_folder
from tenor.cells.hardware import choose_device
from tenor.config import check
from tenor.data.columns import same_labels
from tenor.data.datasets import Progress
from tenor.errors import TenorError, plural
from tenor.jobs.info import beside_for
from tenor.jobs.prepare import Data, Order, prepare
from tenor.jobs.work import Say, clear_work, is_as_asked, is_finished, open_work, work_folder
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.results.baseline import baseline
from tenor.results.calibrate import calibrate
from tenor.results.curves import draw
from tenor.results.evaluate import compare, measure
from tenor.results.report import card, page
from tenor.training.events import Events
from tenor.training.first import LARGE, LEAST_ROWS, fit_beside, fit_first, from_language, is_few, joined, second_of, weighed
from tenor.training.fit import Tokenised, fit
from tenor.training.loop import Outcome
from tenor.training.presets import GIVEN, SMALL, Preset
from tenor.training.pretrain import kept_aside
from tenor.training.teacher import Taught, teach


def train(order: Order, say: Say, events: Events, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job; returns the metrics (see the model folder's metrics.json) with the history and the folder's path.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    began = time.perf_counter()
    start = Pretrained.read(order.start) if order.start else None
    teaching = {str(folder): store.read(model_folder(folder)) for folder in order.teachers}
    teachers = {folder: _teacher(stored) for folder, stored in teaching.items()}
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
    preset = _preset(order, start, _learnt_from(data, wish))
    train_texts = data.texts(data.split.train)
    _check_teachers(data, teachers, preset, start is not None)
    tokens = Tokenised.of(train_texts, preset.text, start.tokenizer if start else None)
    counts = tokens.counts(preset.text.max_tokens)
    tokenised = time.perf_counter()
    sentences = [*data.sentences, *_seen_by(teaching, start, order, wish), *_lengths(counts, data.findings.train, preset.text.max_tokens), *_beginning(order, start, data.names, preset, data.findings.train)]
    say("Data", sentences)
    v, targets = data.split.validation, data.targets
    try:
        open_work(work, order.resume, say)
        before = _before(order, data, teachers, train_texts, tokens, preset, events, work, say, start)
        learnt = time.perf_counter()
        pipeline, outcome = _learning(data, tokens, preset, events, work, start, before)
    except OSError as error:
        raise TenorError(f"The checkpoint could not be written to {work} ({error.strerror}). Free some space and go on with --resume.") from error
    finally:
        clear_work(work, only_empty=True)
    fitted = time.perf_counter()
    calibration = calibrate(pipeline, data.texts(v), targets[v])
    calibrated = time.perf_counter()
    metrics: dict[str, Any] = {
        "finished": outcome.finished,
        "best_epoch": outcome.best_epoch,
        "split": data.split.name,
        "data": data.findings.to_json() | counts | {"learnt_from": _learnt_from(data, preset), "sentences": [*sentences, *before.told, *_answer(before, pipeline, data, start, say)]},
        "kernel": pipeline.path,
        "calibration": calibration,
        "seconds": _seconds((began, prepared, tokenised, learnt, fitted, calibrated), outcome),
    }
    if outcome.finished and len(data.split.test):
        metrics |= _test(pipeline, data, train_texts, order)
        metrics["seconds"]["test_and_baseline"] = round(time.perf_counter() - calibrated, 2)
    metrics["seconds"]["all"] = round(time.perf_counter() - began, 2)
    try:
        _write(order, preset, pipeline, outcome, metrics)
    except TenorError as error:
        raise TenorError(f"{error} The training is not lost: the same command with --resume writes it again.") from error
    if outcome.finished:
        clear_work(work)
    return metrics | {"model": str(order.out), "history": outcome.history}


def _seconds(times: tuple[float, ...], outcome: Outcome) -> dict[str, float]:
    began, prepared, tokenised, taught, fitted, calibrated = times
    return {
        "read_and_check": round(prepared - began, 2),
        "vocabulary_and_ids": round(tokenised - prepared, 2),
        "teachers": round(taught - tokenised, 2),
        "pairs_vectors_network": round(fitted - taught - outcome.seconds, 2),
        "train": round(outcome.seconds, 2),
        "calibrate": round(calibrated - fitted, 2),
    }


def _preset(order: Order, start: Pretrained | None, rows: int | None) -> Preset:
    return order.preset(rows, start.settings if start else None)


def _learnt_from(data: Data, preset: Preset) -> int:
    """Rows, by which a preset sets its epochs."""
    return data.findings.train + (len(data.others) if preset.language else 0)


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


def _beginning(order: Order, start: Pretrained | None, labels: list[str], preset: Preset, rows: int) -> list[str]:
    if not start:
        return []
    if preset.language:
        large = f"Fewer than {SMALL:,} training rows have a label: {LARGE} classifiers that label the rows without a label together, and then a" if is_few(rows) else "A"
        long = "" if is_few(rows) else " It learns from the rows without a label too, which takes longer than all else."
        return [f"{large} classifier that may answer beside the small networks {'start' if is_few(rows) else 'starts'} from {order.start}: tokens, sizes and weights.{long} All networks read its tokens, and answers take longer. What starts there keeps its own settings: --epochs, --hidden and --embedding are of the small networks."]
    answers = "and answers: its labels are the same" if start.answers(labels, preset.model) else "but not answers: it knows other labels, or none"
    plain = order.preset(rows)  # as it would be without a start
    own, now = ({k: v for part in (p.text, p.model, p.train) for k, v in asdict(part).items()} for p in (plain, preset))
    changed = [f"{k} {now[k]} (not {own[k]})" for k in own if now[k] != own[k] and k not in (*GIVEN, "networks", "pairs", "vectors")]  # those are the start's own, as was said, or chosen by --networks
    held = ", ".join(f"{k} {now[k]}" for k in ("epochs", "batch_size", "learning_rate", "max_tokens") if now[k] == own[k])
    why = f"Because it starts there, not as in the preset: {', '.join(changed)}. All else is as in the preset or the command: {held}, and so on."
    second = ["Another network answers beside the others there: it is trained first, then the others, and they answer together again."] if start.beside else []
    return [f"Training starts from {order.start}: tokens, sizes and weights, {answers}.", *second, *([why] if changed else [])]


def _teacher(stored: store.Stored) -> Pipeline:
    """With what stands beside asked of every text: students learn from it."""
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


@dataclass(frozen=True)
class Before:
    """What there is before the last training."""

    taught: Taught | None = None  # the rows without a label, as the teachers label them, the preset's own first model among them
    first: Pipeline | None = None  # that one, if it will answer too
    beside: Pipeline | None = None  # of other sizes, if it will answer: what started from a language model, or from what answered beside in the start
    told: Sequence[str] = ()  # the sentences that were said on it


def _before(order: Order, data: Data, teachers: dict[str, Pipeline], train_texts: list[str], tokens: Tokenised, preset: Preset, events: Events, work: Path, say: Say, start: Pretrained | None) -> Before:
    told: list[str] = []

    def tell(sentence: str, heading: str = "Teacher") -> None:
        told.append(sentence)
        say(heading, [sentence])

    v, targets, few = data.split.validation, data.targets[data.split.train], is_few(data.findings.train)
    other = partial(_beside, order, data, tokens, preset, events, work, partial(tell, heading="Beside"), start)
    first = beside = None
    if preset.language:
        first = fit_first(data.names, train_texts, tokens, targets, data.texts(v), data.targets[v], data.others, preset, events, work, tell, start)
        teachers = {**teachers, "the large classifiers" if few else "the first model": first}
    if preset.language and start and not few:
        beside = other(Taught.by_nobody(data.others, len(data.names)))
        assert beside
        teachers = {**teachers, "the classifier from the language model": beside}
    if not teachers:
        return Before(beside=other(None), told=told)
    taught = teach(list(teachers.values()), train_texts, targets, data.texts(v), data.targets[v], data.others)
    *networks, linear = taught.weights
    parts = [f"the logits of {folder} times {weight:.2f}" for folder, weight in zip(teachers, networks, strict=True)]
    found = f"; so they are right on {taught.accuracy:.2%} of the validation rows" if len(v) else ""
    tell(f"{len(data.others):,} rows without a label are labelled by {', '.join(parts)} and those of a linear model of n-grams times {linear:.2f}{found}.")
    return Before(taught, None if few else first, beside or other(taught), told)


def _beside(order: Order, data: Data, tokens: Tokenised, preset: Preset, events: Events, work: Path, tell: Callable[[str], None], start: Pretrained | None, taught: Taught | None) -> Pipeline | None:
    """What will answer beside, if the start is a language model (of --preset best) or has such a network itself."""
    own = start if preset.language else start and start.beside
    if not own:
        return None
    v, rows = data.split.validation, _learnt_from(data, preset)
    settings = from_language(own, preset, rows, opposed=not is_few(data.findings.train)) if preset.language else _preset(order, own, rows)
    return fit_beside(data.names, tokens, data.targets[data.split.train], data.texts(v), data.targets[v], settings, events, work, tell, own, taught)


def _learning(data: Data, tokens: Tokenised, preset: Preset, events: Events, work: Path, start: Pretrained | None, before: Before) -> tuple[Pipeline, Outcome]:
    """The last training; what was made before then answers with what it made."""
    v, targets, first = data.split.validation, data.targets, before.first
    settings = second_of(preset, data.findings.train)
    if preset.language or before.beside:
        events.training("the last one, whose curves are drawn")
    own = None if preset.language else start  # where the preset trains twice, the first model starts there
    pipeline, outcome = fit(data.names, tokens, targets[data.split.train], data.texts(v), targets[v], settings, events, work, own, before.taught, first.pairs if first else None)
    together = joined(first, pipeline, preset) if first else pipeline
    belief = start.share if start and start.beside else 0.5
    return weighed(together, before.beside, data.texts(v), targets[v], belief) if before.beside else together, outcome


def _answer(before: Before, both: Pipeline, data: Data, start: Pretrained | None, say: Say) -> list[str]:
    """Who answers, which the folder's history does not show."""
    if not before.first and not before.beside:
        return []
    networks, old, v = both.model.networks, before.first.model.networks if before.first else 0, data.split.validation
    found = f", right on {(both.probabilities(data.texts(v))[0].argmax(1) == data.targets[v]).mean():.2%} of the validation rows" if len(v) else ""
    some = f"{plural(old, 'network')} of the labelled rows and {networks - old} that learnt from all" if old else plural(networks, "network") + (" that learnt from all rows" if before.taught else "")
    who = "the one beside" if start and start.labels else "the classifier from the language model"
    other = f", and {who} {beside_for(both)}," if both.beside else ""
    lost = f" Left out, since it adds nothing on the validation rows: {who}." if before.beside and not both.beside else ""
    every = f" It reads every text: to ask it only where the others are not sure takes {LEAST_ROWS:,} validation rows (--validation {LEAST_ROWS})." if both.beside and 0 < len(v) < LEAST_ROWS else ""
    verb = "answer together" if networks > 1 or both.beside else "answers alone"
    drawn = "are of those that learnt from all" if before.taught else "leave out the one beside"
    sentences = [f"{some}{other} {verb}{found}.{every}{lost} Curves and history {drawn}."]
    say("Answer", sentences)
    return sentences


def _seen_by(teaching: dict[str, store.Stored], start: Pretrained | None, order: Order, preset: Preset) -> list[str]:
    """A sentence for each teacher, and a start that has learnt labels, that was trained on another division of the same source, or learnt one of the files here beside its own."""
    out = []
    known: dict[str, Mapping[str, Any]] = {folder: stored.config for folder, stored in teaching.items()}
    if start and start.labels:
        known[str(order.start)] = start.config
    for folder, c in known.items():
        same = c.get("test") == order.test and c.get("split") == asdict(preset.split) and c.get("train", {}).get("seed") == preset.train.seed
        shared = {str(c[key]) for key in ("source", "extra") if c.get(key)} & {order.source, str(order.test)}
        if shared - ({order.source} if same and c.get("source") == order.source else set()):
            out.append(f"{folder} was trained on another division of {' and '.join(sorted(shared))}: it may know rows that are validation or test rows here, and the results may be too good. Train it with the same --split and --seed.")
    return out


def _lengths(counts: dict[str, int], rows: int, limit: int) -> list[str]:
    out = [f"Texts have {counts['median_length']:,} tokens in the median, {counts['greatest_length']:,} at most."]
    if counts["texts_cut"]:
        share = counts["tokens_cut"] / counts["tokens"]
        out.append(f"{counts['texts_cut']:,} of {rows:,} training texts cut to {plural(limit, 'token')}, which loses {share:.1%} of all tokens. --max-tokens changes it.")
    return out


def _test(pipeline: Pipeline, data: Data, train_texts: list[str], order: Order) -> dict[str, Any]:
    """The only place where test rows meet a trained model, once."""
    rows, targets = [data.test_rows[i] for i in data.split.test], data.test_targets[data.split.test]
    began = time.perf_counter()
    shares, lengths = pipeline.probabilities([r.text for r in rows])
    test = measure(shares, targets, data.names, lengths)
    test["seconds"] = round(time.perf_counter() - began, 2)
    if not order.baseline:
        return {"test": test}
    linear, right = baseline(train_texts, data.targets[data.split.train], [r.text for r in rows], targets)
    return {"test": test, "baseline": linear, "versus_baseline": compare(shares.argmax(1) == targets, right)}


def _write(order: Order, preset: Preset, pipeline: Pipeline, outcome: Outcome, metrics: dict[str, Any]) -> None:
    config = {"train": asdict(preset.train), "split": asdict(preset.split), "source": order.source, "test": order.test, "extra": order.extra, "start": _name(order.start), "command": order.command} | _taught_by(order, preset)
    stored = pipeline.stored(config, metrics, outcome.history)
    title = order.out.name
    files = {}
    svg = b"<svg/>"
    if outcome.history:
        files = draw(outcome.history, outcome.best_epoch, title, metrics.get("test", {}).get("accuracy"))
        svg = files["curves.svg"]
    files |= {"README.md": card(title, stored.config, metrics, outcome.history), "report.html": page(title, stored.config, metrics, outcome.history, svg)}
    store.write(order.out, stored, files, overwrite=order.overwrite or order.resume)


