"""Commands that use a model: how good it is, what it says of new texts."""

from __future__ import annotations

import json
import sys
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
)
from tenor.errors import TenorError, plural
from tenor.terminal import Talk, counting, err, out, show_table


def evaluate(
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
    """Of a classifier: accuracy with its interval, F1, AUC, calibration, confusion and accuracy by length of text. Of a generator: perplexity, nats and bits a character."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.evaluate import evaluate as run
        from tenor.store import read
        from tenor.tasks import task_of
    if task_of(read(model_folder(model)).config) == "generate":
        _evaluate_generator(source, model, part, text, skip_bad, device, precision, as_json)
        return
    with say.download() as progress:
        pipeline, stored = _read(model, device, precision, as_json)
        result = run(source, pipeline, part, text, label, stars, skip_bad, progress, stored)
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
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to classify.")] = None,
    model: Model = REVIEWS,
    source: Annotated[str | None, typer.Option("-i", "--input", help="A table to classify, or - for lines from a pipe.")] = None,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="The table to write: .csv, .tsv, .jsonl or .parquet.")] = None,
    text: TextColumnName = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    device: DeviceName = "auto",
    precision: ReadingPrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Label texts, a file of any size, or the lines of a pipe."""
    if bool(texts) == (source is not None):
        raise TenorError("Give texts, or a file with -i (one of the two): tenor predict \"a text\" -m MODEL, or tenor predict -i FILE -o FILE -m MODEL.")
    if source is not None and source != "-" and target is None:
        raise TenorError("A file to read needs a file to write: add -o answers.csv (or .tsv, .jsonl, .parquet).")
    if target is not None and source in (None, "-"):
        raise TenorError("-o goes with -i FILE; texts and pipes are answered on standard output.")
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.predict import predict_file, predict_pipe, predict_texts
    pipeline, _ = _read(model, device, precision, as_json)
    if source is None:
        answers = predict_texts(pipeline, texts or [])
        if as_json:
            print(json.dumps([{"text": t, **a} for t, a in zip(texts or [], answers, strict=True)]))
            return
        for given, answer in zip(texts or [], answers, strict=True):
            lost = f"  ({plural(answer['tokens_cut'], 'token')} cut)" if answer["tokens_cut"] else "" if answer["tokens"] else "  (a text of no words)"
            out.print(f"[bold]{escape(str(answer['label']))}[/bold]  {answer['probability']:.3f}  {escape(given[:200])}{lost}")
        return
    if source == "-":
        empty = 0
        for line, answer in predict_pipe(pipeline, sys.stdin.fileno()):
            print(json.dumps({"text": line, **answer}) if as_json else f"{answer['label']}\t{answer['probability']:.4f}\t{line}", flush=True)
            empty += not answer["tokens"]
        if empty:  # on the error stream: the answers may go into a pipe
            err.print(_without_words(empty))
        return
    assert target is not None
    with counting("rows") as progress:
        result = predict_file(pipeline, Path(source), target, text, skip_bad, overwrite, progress)
    if as_json:
        print(json.dumps(result))
        return
    counts = escape(", ".join(f"{n:,} {label}" for label, n in result["labels"].items()))
    out.print(f"{plural(result['rows'], 'row')}: {counts}. Read from column {escape(result['column'])}; added {', '.join(result['added'])}.")
    if result["texts_cut"]:
        out.print(f"{plural(result['texts_cut'], 'text')} cut, by {plural(result['tokens_cut'], 'token')}.")
    if result["empty"]:
        out.print(_without_words(result["empty"]))
    if result["bad"]:
        out.print(f"{plural(result['bad_lines'], 'broken line')} left out: {escape('; '.join(result['bad'][:3]))}.")
    out.print(f"Written to {escape(str(target))}")


def _evaluate_generator(source: str, model: str, part: str | None, text: str | None, skip_bad: bool, device: Any, precision: Any, as_json: bool) -> None:
    from tenor.jobs.generate import evaluate_generator
    from tenor.results.report import foretold

    with Talk(as_json).download() as progress:
        result = evaluate_generator(source, generation_of(model, device, precision), part, text, skip_bad, progress)
    if as_json:
        print(json.dumps(result))
        return
    for note in result["notes"]:
        out.print(f"  {escape(note)}")
    out.print(f"{foretold(result)}; {result['seconds']:.1f} s")


def generation_of(model: str, device: Any, precision: Any) -> Any:
    """A model folder of the task generate, ready for prompts."""
    from tenor.cells.kernels import check_environment
    from tenor.generation import Generation
    from tenor.store import read

    check_environment()
    return Generation.rebuilt(read(model_folder(model)), device, precision)


def _without_words(texts: int) -> str:
    return f"{plural(texts, 'text')} without words, answered with what holds for a text of no words."


def _read(model: str, device: Any, precision: Any, as_json: bool) -> tuple[Any, Any]:
    """A Pipeline, and the Stored it is made of."""
    from tenor.cells.kernels import check_environment
    from tenor.pipeline import Pipeline
    from tenor.store import read

    check_environment()
    stored = read(model_folder(model))
    pipeline = Pipeline.rebuilt(stored, device, precision)
    if model in BOX and not as_json:  # on the error stream: answers may go into a pipe
        err.print(f"Model: {model}, which ships with Tenor ({BOX[model]}). Another one: -m FOLDER")
    return pipeline, stored
