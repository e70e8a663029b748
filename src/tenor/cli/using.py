"""Commands that use a model: how good it is, what it says of new texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tenor.box.names import BOX, REVIEWS, model_folder
from tenor.cli.options import (
    DeviceName,
    Json,
    LabelColumnName,
    Model,
    Overwrite,
    Part,
    ReadingPrecisionName,
    SkipBad,
    Stars,
    TextColumnName,
    check_heard,
)
from tenor.errors import TenorError, plural
from tenor.terminal import Talk, counting, err, out, show_table


def evaluate(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Labelled rows: a file, folder, archive or data set. For a generator texts, or a plain file.")],
    model: Model = REVIEWS,
    text: TextColumnName = None,
    label: LabelColumnName = None,
    stars: Stars = "classes",
    part: Part = None,
    skip_bad: SkipBad = False,
    device: DeviceName = "auto",
    precision: ReadingPrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Of a classifier: accuracy with its interval, F1, AUC, calibration, confusion and accuracy by length of text. Of other models: the numbers of their task."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.evaluate import evaluate as run
        from tenor.store import read
        from tenor.tasks import task_of
    found = read(model_folder(model))
    task = task_of(found.config)
    if task not in ("classify", "pretrain"):
        _evaluate(context, found, source, part, text, label, skip_bad, device, precision, as_json)
        return
    with say.download() as progress:
        pipeline, stored = _read(model, device, precision, as_json)
        result = run(source, pipeline, part, text, label, stars, skip_bad, progress, stored, model)
    if as_json:
        print(json.dumps(result))
        return
    from tenor.results.report import ERROR_IS, percent

    for note in result["notes"]:
        out.print(f"  {escape(note)}")
    auc = f", AUC {result['auc']:.4f}" if result["auc"] is not None else ""
    out.print(f"[bold]Accuracy[/bold] {percent(result)}\nF1 {result['f1']:.4f}{auc}, {result['rows_per_second']:,.0f} rows a second, {plural(result['tokens_cut'], 'token')} cut")
    out.print(f"Probabilities are off by {result['calibration_error']:.4f} on average ({ERROR_IS})")
    labels = [str(x) for x in result["labels"]]
    show_table("Errors (rows: true, columns: said)", ["", *labels], [[n, *(f"{c:,}" for c in row)] for n, row in zip(labels, result["confusion"], strict=True)])
    slices = [[s["tokens"], f"{s['rows']:,}", f"{s['accuracy']:.3f}", f"{s['accuracy_low']:.3f} to {s['accuracy_high']:.3f}"] for s in result["by_length"]]
    show_table("By length of text", ["tokens", "rows", "accuracy", "95 % interval"], slices)


def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to answer.")] = None,
    model: Model = REVIEWS,
    source: Annotated[str | None, typer.Option("-i", "--input", help="A table to answer, or - for lines from a pipe.")] = None,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="The table to write: .csv, .tsv, .jsonl or .parquet.")] = None,
    text: TextColumnName = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    device: DeviceName = "auto",
    precision: ReadingPrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Answer texts, a file of any size, or the lines of a pipe, as the model's task is: a classifier labels them."""
    answer(lambda: _answerer(model, device, precision, as_json), texts, source, target, text, skip_bad, overwrite, as_json, "tenor predict")


def answer(
    open_model: Callable[[], Any], texts: list[str] | None, source: str | None, target: Path | None, text: str | None, skip_bad: bool, overwrite: bool, as_json: bool, command: str
) -> None:
    """What a command does that answers texts, a file, or the lines of a pipe. open_model: makes the Answerer, once the options are known to fit each other."""
    if bool(texts) == (source is not None):
        raise TenorError(f'Give texts, or a file with -i (one of the two): {command} "a text" -m MODEL, or {command} -i FILE -o FILE -m MODEL; -i - reads the lines of a pipe.')
    if source is not None and source != "-":
        from tenor.data.files import check_exists

        check_exists(Path(source))
        if target is None:
            raise TenorError("A file to read needs a file to write: add -o answers.csv (or .tsv, .jsonl, .parquet).")
    if target is not None and source in (None, "-"):
        raise TenorError("-o goes with -i FILE; texts and pipes are answered on standard output.")
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.answers import ReadsFiles
        from tenor.jobs.predict import predict_file, predict_pipe
    answerer = open_model()
    if source is None:
        answers = answerer.answers(texts or [])
        for warning in answerer.warnings():
            err.print(escape(warning))
        if as_json:
            print(json.dumps([{"text": t, **a} for t, a in zip(texts or [], answers, strict=True)]))
            return
        for given, answer in zip(texts or [], answers, strict=True):
            out.print(answerer.line(given, answer))
            if len(given) < 200 and Path(given).is_file() and not isinstance(answerer, ReadsFiles):
                err.print(escape(f"There is a file {given}, and this answered its name. For its rows: {command} -i {given} -o answers.csv"))
        return
    if source == "-":
        for line, answer in predict_pipe(answerer, sys.stdin.fileno()):
            print(json.dumps({"text": line, **answer}) if as_json else answerer.piped(line, answer), flush=True)
        for warning in answerer.warnings():  # on the error stream: the answers may go into a pipe
            err.print(escape(warning))
        return
    assert target is not None
    with counting("rows") as progress:
        result = predict_file(answerer, Path(source), target, text, skip_bad, overwrite, progress)
    if as_json:
        print(json.dumps(result))
        return
    out.print(f"{plural(result['rows'], 'row')}. Read from column {escape(result['column'])}; added {', '.join(result['added'])}.")
    for sentence in answerer.summary():
        out.print(escape(sentence))
    if result["bad"]:
        out.print(f"{plural(result['bad_lines'], 'broken line')} left out: {escape('; '.join(result['bad'][:3]))}.")
    out.print(f"Written to {escape(str(target))}")


def _evaluate(context: typer.Context, stored: Any, source: str, part: str | None, text: str | None, label: str | None, skip_bad: bool, device: Any, precision: Any, as_json: bool) -> None:
    from tenor.cells.kernels import check_environment
    from tenor.jobs.evaluate import learnt_from
    from tenor.jobs.kinds import kind_of, made_of

    task = stored.config["task"]
    kind = kind_of(task)
    check_heard(context, f"A model of the task {task}", {"label": "--label", "stars": "--stars"}, kind.options)
    check_environment()
    with Talk(as_json).download() as progress:
        result = kind.evaluate(source, made_of(stored, task, device, precision), part, text, label, skip_bad, progress)
    result["notes"] = [*learnt_from(stored, source, part), *result["notes"]]
    if as_json:
        print(json.dumps(result))
        return
    for note in result["notes"]:
        out.print(f"  {escape(note)}")
    out.print(f"{escape(kind.measured(result))}; {result['seconds']:.1f} s")


def opened(task: str, model: str, device: Any, precision: Any) -> Any:
    """A model folder of a task, ready for use. Raises TenorError if it is of another."""
    from tenor.cells.kernels import check_environment
    from tenor.jobs.kinds import made_of
    from tenor.store import read

    check_environment()
    return made_of(read(model_folder(model)), task, device, precision)


def _answerer(model: str, device: Any, precision: Any, as_json: bool) -> Any:
    from tenor.cells.kernels import check_environment
    from tenor.jobs.answers import Labels
    from tenor.jobs.kinds import TASKS, kind_of, made_of
    from tenor.store import read
    from tenor.tasks import task_of

    stored = read(model_folder(model))
    task = task_of(stored.config)
    if task in TASKS and task != "classify":
        check_environment()
        return kind_of(task).answerer(made_of(stored, task, device, precision))
    return Labels(_read(model, device, precision, as_json)[0])


def _read(model: str, device: Any, precision: Any, as_json: bool) -> tuple[Any, Any]:
    """A Pipeline, and the Stored it is made of."""
    from tenor.cells.kernels import check_environment
    from tenor.pipelines.classification import Pipeline
    from tenor.store import read

    check_environment()
    stored = read(model_folder(model))
    pipeline = Pipeline.rebuilt(stored, device, precision)
    if model in BOX and not as_json:  # on the error stream: answers may go into a pipe
        err.print(f"Model: {model}, which ships with Tenor ({BOX[model]}). Another one: -m FOLDER")
    return pipeline, stored
