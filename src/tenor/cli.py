"""The command line: parses and prints, nothing else."""

from __future__ import annotations

import gc
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from tenor.box.names import BOX, REVIEWS, model_folder
from tenor.errors import TenorError, plural
from tenor.terminal import LiveBar, Talk, counting, err, out, show_table, show_training

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False, help="Recurrent networks for your texts: train, evaluate, predict. Start with: [bold]tenor train sample --out my-model[/bold]")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Model = Annotated[str, typer.Option("-m", "--model", help="A model folder, as written by train; or reviews-en, in installs that have it (make box makes it).")]
TextColumnName = Annotated[str | None, typer.Option("--text", help="Column of the texts; found by itself if its name is usual.")]
LabelColumnName = Annotated[str | None, typer.Option("--label", help="Column of the labels; found by itself if its name is usual.")]
Stars = Annotated[Literal["classes", "5", "10"], typer.Option(help="Ratings as labels: each a class of its own; or, on a scale to 5 or 10, low ones negative, high ones positive, the middle left out.")]
Part = Annotated[Literal["train", "test"] | None, typer.Option(help="Only this part of the data's own split.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out broken lines and count them.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped; give the same command again.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same model.")]
DeviceName = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]
PrecisionName = Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Number format of the recurrent layers.")]
ReadingPrecisionName = Annotated[Literal["auto", "float32", "bfloat16", "int8"], typer.Option(help="Number format of the recurrent layers; int8 reads fastest.")]


def main() -> None:
    """Entry point: a TenorError is printed and ends with 2; typer ends wrong usage with 2 and Ctrl-C with 130."""
    # Imports and rows are millions of objects that stay; looking through them for cycles took a fifth of loading and reading.
    gc.set_threshold(200_000, 50, 50)
    try:
        app()
    except TenorError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the answers has gone
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be read or written ({error.strerror}). Check the name, the permissions and the space on the disk.")


def _fail(message: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": message}))
    err.print(f"[bold red]Error:[/bold red] {escape(message)}")
    sys.exit(2)


# train ---------------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: tenor train reviews.csv --text comment --label stars --out my-model")
def train(
    source: Annotated[str, typer.Argument(help="A file (CSV, TSV, JSONL, Parquet), a folder, an archive, or a data set: imdb, sample.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")] = Path("model"),
    text: TextColumnName = None,
    label: LabelColumnName = None,
    stars: Stars = "classes",
    preset: Annotated[Literal["base", "quick", "article"], typer.Option(help="base: recommended. quick: seconds instead of minutes. article: the classic tutorial network.")] = "base",
    cell: Annotated[Literal["lstm", "gru", "rnn"] | None, typer.Option(help="Kind of recurrent layer.")] = None,
    layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units a direction.")] = None,
    embedding: Annotated[int | None, typer.Option(help="Size of the word vectors.")] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Read each text from its start only.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's rate (its peak, where the preset varies it).")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longer texts are cut to this.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Entries of the vocabulary.")] = None,
    tokens: Annotated[Literal["word", "bpe"] | None, typer.Option(help="Words, or byte-pair pieces.")] = None,
    split: Annotated[Literal["range", "random", "official"] | None, typer.Option(help="How test rows are chosen: the last rows, at random with balance, or the data's own.")] = None,
    train_rows: Annotated[int | None, typer.Option(help="Number of training rows (validation rows come out of them).")] = None,
    test_rows: Annotated[int | None, typer.Option(help="Number of test rows.")] = None,
    test: Annotated[str | None, typer.Option(help="A second file with the test rows; all of SOURCE then trains.")] = None,
    validation: Annotated[float | None, typer.Option(help="Validation rows: a share below 1, or a number.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="A model to start from, with its tokens, sizes and weights: a folder (of tenor pretrain, or an earlier training), or reviews-en, in installs that have it.")] = None,
    seed: Seed = 0,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    baseline: Annotated[bool, typer.Option("--baseline/--no-baseline", help="Train the linear baseline beside it.")] = True,
    keep_overlap: Annotated[bool, typer.Option("--keep-overlap", help="Keep training rows whose text is also a test text.")] = False,
    skip_bad: SkipBad = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Check the data, train, test once, compare with a linear baseline, write a model folder."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.cells.kernels import check_environment
        from tenor.jobs.prepare import Order
        from tenor.jobs.train import train as run
        from tenor.training.presets import GIVEN
        from tenor.training.presets import preset as preset_of
    check_environment()
    changes = {
        "cell": cell, "layers": layers, "hidden": hidden, "embedding": embedding, "bidirectional": False if one_way else None, "epochs": epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "max_tokens": max_tokens, "vocab": vocab, "tokens": tokens, "how": split,
        "train_rows": train_rows, "test_rows": test_rows, "validation": validation, "seed": seed, "device": device, "precision": precision,
    }  # fmt: skip
    command = shlex.join(["tenor", *sys.argv[1:]])
    out_folder = out_folder if out_folder.name else out_folder.absolute()
    fixed = [name for name in GIVEN if changes[name] is not None]
    if start and fixed:
        given = "--one-way" if fixed[0] == "bidirectional" else f"--{fixed[0]}"
        raise TenorError(f"--from takes tokens and sizes from {start}, so {given} cannot be chosen. Leave it out, or pretrain with it.")
    order = Order(source, out_folder, lambda rows: preset_of(preset, rows, **changes), test, start, text, label, stars, keep_overlap, skip_bad, baseline, resume, overwrite, command)
    with LiveBar() as events, say.download() as progress:
        metrics = run(order, say, events, progress)
    if as_json:
        print(json.dumps(metrics))
    else:
        show_training(metrics, out_folder)
    if not metrics["finished"]:
        err.print(f"Interrupted: a usable model of what was learnt so far is in {out_folder}. The same command with --resume goes on.")
        raise typer.Exit(130)


@app.command(epilog="Example: tenor pretrain reviews.csv --out reviews-language; tenor train labelled.csv --from reviews-language --out my-model")
def pretrain(
    source: Annotated[str, typer.Argument(help="Texts, labelled or not: a file, folder, archive or data set. Rows of a part named test are left out.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")] = Path("pretrained"),
    text: TextColumnName = None,
    cell: Annotated[Literal["lstm", "gru", "rnn"] | None, typer.Option(help="Kind of recurrent layer.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units a direction.")] = None,
    embedding: Annotated[int | None, typer.Option(help="Size of the word vectors.")] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Read each text from its start only.")] = False,
    layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers; more than one with --one-way only.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the texts.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's rate at its peak.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longer texts are read in pieces of at most so many.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Entries of the vocabulary.")] = None,
    tokens: Annotated[Literal["word", "bpe"] | None, typer.Option(help="Words, or byte-pair pieces.")] = None,
    seed: Seed = 0,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    skip_bad: SkipBad = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Learn the language of texts without labels; a training with few labels then starts from there (train --from)."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.cells.kernels import check_environment
        from tenor.jobs.pretrain import PretrainOrder
        from tenor.jobs.pretrain import pretrain as run
        from tenor.training.presets import PRETRAIN, changed
    check_environment()
    settings = {
        "cell": cell, "layers": layers, "hidden": hidden, "embedding": embedding, "bidirectional": False if one_way else None, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "max_tokens": max_tokens, "vocab": vocab, "tokens": tokens, "seed": seed, "device": device, "precision": precision,
    }  # fmt: skip
    out_folder = out_folder if out_folder.name else out_folder.absolute()
    order = PretrainOrder(source, out_folder, changed(PRETRAIN, settings), text, skip_bad, resume, overwrite, shlex.join(["tenor", *sys.argv[1:]]))
    with LiveBar() as events, say.download() as progress:
        metrics = run(order, say, events, progress)
    if as_json:
        print(json.dumps(metrics))
    else:
        out.print(f"[bold]Written to {escape(str(out_folder))}/[/bold]\n  README.md (the model card) and the encoder, {metrics['seconds']['all']:.0f} s in all.\n  Use it: tenor train SOURCE --from {escape(str(out_folder))}")
    if not metrics["finished"]:
        err.print(f"Interrupted: what was learnt so far is in {out_folder}. The same command with --resume goes on.")
        raise typer.Exit(130)


# evaluate, predict, info, data ---------------------------------------------------------------------------------------


@app.command(epilog="Example: tenor evaluate new-reviews.csv -m my-model")
def evaluate(
    source: Annotated[str, typer.Argument(help="Labelled rows: a file, folder, archive or data set.")],
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
    """Accuracy with its interval, F1, AUC, calibration, confusion and accuracy by length of text."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.evaluate import evaluate as run
    with say.download() as progress:
        result = run(source, _pipeline(model, device, precision, as_json), part, text, label, stars, skip_bad, progress)
    if as_json:
        print(json.dumps(result))
        return
    from tenor.results.report import ERROR_IS, percent

    for note in result["notes"]:
        out.print(f"  {escape(note)}")
    auc = f", AUC {result['auc']:.4f}" if result["auc"] is not None else ""
    out.print(f"[bold]Accuracy[/bold] {percent(result)}\nF1 {result['f1']:.4f}{auc}, {result['rows_per_second']:,.0f} rows a second, {result['tokens_cut']:,} tokens cut")
    out.print(f"Probabilities are off by {result['calibration_error']:.4f} on average ({ERROR_IS})")
    labels = [str(x) for x in result["labels"]]
    show_table("Errors (rows: true, columns: said)", ["", *labels], [[n, *(f"{c:,}" for c in row)] for n, row in zip(labels, result["confusion"], strict=True)])
    slices = [[s["tokens"], f"{s['rows']:,}", f"{s['accuracy']:.3f}", f"{s['accuracy_low']:.3f} to {s['accuracy_high']:.3f}"] for s in result["by_length"]]
    show_table("By length of text", ["tokens", "rows", "accuracy", "95 % interval"], slices)


@app.command(epilog='Examples: tenor predict "not bad at all"   ·   tenor predict "not bad at all" -m my-model   ·   tenor predict -i reviews.csv -o answers.csv -m my-model   ·   cat lines.txt | tenor predict -i - -m my-model')
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
    pipeline = _pipeline(model, device, precision, as_json)
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
        for line, answer in predict_pipe(pipeline, sys.stdin.fileno()):
            print(json.dumps({"text": line, **answer}) if as_json else f"{answer['label']}\t{answer['probability']:.4f}\t{line}", flush=True)
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
        out.print(f"{plural(result['empty'], 'text')} without words, answered with what holds for a text of no words.")
    if result["bad"]:
        out.print(f"{plural(result['bad_lines'], 'broken line')} left out: {escape('; '.join(result['bad'][:3]))}.")
    out.print(f"Written to {escape(str(target))}")


@app.command(epilog="Examples: tenor info; tenor info my-model")
def info(
    model: Annotated[str | None, typer.Argument(help="A model folder; without one, what this machine runs recurrent layers with.")] = None,
    named: Annotated[str | None, typer.Option("-m", "--model", help="The same, as other commands take it.")] = None,
    as_json: Json = False,
) -> None:
    """What a model is, how good it was, and which kernel runs it here."""
    with (err if as_json else out).status("Loading ..."):
        from tenor.jobs.info import info as run
        from tenor.jobs.info import machine
    if model is not None and named is not None:
        raise TenorError(f"One model at a time: got {model} and -m {named}.")
    model = model if named is None else named
    numbers, lines = machine() if model is None else run(model)
    if as_json:
        print(json.dumps(numbers))
    else:
        out.print("\n".join(map(escape, lines)))


@app.command(epilog="Example: tenor shrink my-model --out my-model-small --check newer-reviews.csv")
def shrink(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
    weights: Annotated[Literal["int8", "bfloat16", "float32"], typer.Option(help="How weights are stored: 1, 2 or 4 bytes each.")] = "int8",
    check: Annotated[str | None, typer.Option(help="Labelled rows that the model has not trained on: both are compared on them.")] = None,
    part: Part = None,
    text: TextColumnName = None,
    label: LabelColumnName = None,
    stars: Stars = "classes",
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Store a model in a quarter of the bytes; it reads texts as before, and a training may start from it."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.jobs.shrink import ShrinkOrder
        from tenor.jobs.shrink import shrink as run
        from tenor.results.report import shrunk
    out_folder = out_folder if out_folder.name else out_folder.absolute()
    with say.download() as progress:
        found = run(ShrinkOrder(model, out_folder, weights, check, part, text, label, stars, skip_bad, overwrite), progress)
    if as_json:
        print(json.dumps(found))
        return
    out.print(escape(shrunk(found)))
    out.print(f"Written to {escape(str(out_folder))}/, {found['folder_bytes'] / 1e6:.2f} MB in all instead of {found['folder_bytes_before'] / 1e6:.2f}")


@app.command(epilog="Example: tenor data imdb")
def data(
    name: Annotated[str, typer.Argument(help="imdb or sample.")],
    as_json: Json = False,
) -> None:
    """Find a data set on this machine, or fetch and verify it; say where it lies."""
    from tenor.data.datasets import DATA_SETS, cache_folder, fetch, find, is_official
    from tenor.errors import nearest

    if name not in DATA_SETS:
        raise TenorError(f"No data set {name!r}{nearest(name, DATA_SETS)} There are: {', '.join(DATA_SETS)}.")
    found = find(DATA_SETS[name])
    with Talk(as_json).download() as progress:
        place = found or fetch(DATA_SETS[name], cache_folder(), progress)
    official = is_official(DATA_SETS[name], place)
    if as_json:
        print(json.dumps({"name": name, "path": str(place), "about": DATA_SETS[name].about, "fetched": found is None, "official_bytes": official}))
        return
    says = {True: "verified, the bytes of its home", False: "NOT the bytes of its home: another version, or damaged", None: "a form of it that has no checksum"}
    out.print(f"{name}: {DATA_SETS[name].about}\n{'Found' if found else 'Fetched'}: {escape(str(place))}" + ("" if name == "sample" else f" ({says[official]})"))


def _pipeline(model: str, device: Any, precision: Any, as_json: bool) -> Any:
    from tenor.cells.kernels import check_environment
    from tenor.pipeline import Pipeline
    from tenor.store import read

    check_environment()
    pipeline = Pipeline.rebuilt(read(model_folder(model)), device, precision)
    if model in BOX and not as_json:  # on the error stream: answers may go into a pipe
        err.print(f"Model: {model}, which ships with Tenor ({BOX[model]}). Another one: -m FOLDER")
    return pipeline
