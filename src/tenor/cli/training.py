"""Commands that train: each writes a model folder."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from tenor.cli.options import (
    DeviceName,
    Json,
    LabelColumnName,
    Overwrite,
    PrecisionName,
    Resume,
    Seed,
    SkipBad,
    Stars,
    TextColumnName,
    check_heard,
    model_there,
    start_there,
)
from tenor.errors import TenorError
from tenor.terminal import LanguageBar, LiveBar, Talk, err, out, show_task, show_training
from tenor.training.presets import PRETRAIN, changed


def train(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A file (CSV, TSV, JSONL, Parquet; with --task generate also plain text, with --task tag a word a line, with --task transcribe columns file and text), a folder, an archive, or a data set: imdb, sample.")],
    task: Annotated[Literal["classify", "generate", "tag", "transcribe", "translate", "chat"], typer.Option(help="classify: texts to labels. generate: a text goes on. tag: a tag a word. transcribe: WAV files to what is said. translate: texts to their counterparts (--text FROM --label INTO). chat: prompts to replies (two columns, or the turns of a plain file).")] = "classify",
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")] = Path("model"),
    text: TextColumnName = None,
    label: LabelColumnName = None,
    beside: Annotated[str | None, typer.Option(help="With --task tag: columns that are read beside the words, with commas between.")] = None,
    stars: Stars = "classes",
    preset: Annotated[Literal["base", "quick", "best", "article"], typer.Option(help="base: recommended. quick: seconds instead of minutes. best: for files with many rows without a label, from which it learns too: several networks that answer together (hours, where fewer than 10,000 training rows have a label and none is given with --from; where more have, about one with it). article: the classic tutorial network.")] = "base",
    cell: Annotated[Literal["lstm", "gru", "rnn"] | None, typer.Option(help="Kind of recurrent layer.")] = None,
    layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units a direction.")] = None,
    embedding: Annotated[int | None, typer.Option(help="Size of the word vectors.")] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Read each text from its start only.")] = False,
    networks: Annotated[int | None, typer.Option(help="Networks that learn side by side and answer with their mean (classify, tag, transcribe; several classifiers may start --from one language model): mostly a little more right, and as many times the time and the bytes.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's rate (its peak, where the preset varies it).")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longer texts are cut to this.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Entries of the vocabulary.")] = None,
    tokens: Annotated[Literal["word", "bpe", "char"] | None, typer.Option(help="Words, or byte-pair pieces; with --task generate: characters, or byte-pair pieces; with --task transcribe: words or characters.")] = None,
    split: Annotated[Literal["range", "random", "official"] | None, typer.Option(help="How test rows are chosen: the last rows, at random with balance, or the data's own parts (validation too, where it has one).")] = None,
    train_rows: Annotated[int | None, typer.Option(help="Number of training rows (validation rows come out of them).")] = None,
    test_rows: Annotated[int | None, typer.Option(help="Number of test rows.")] = None,
    test: Annotated[str | None, typer.Option(help="A second file with the test rows; all of SOURCE then trains.")] = None,
    extra: Annotated[str | None, typer.Option(help="More labelled rows to learn from, a second file: none of them validates or tests (edited copies of rows that train, texts of another source).")] = None,
    validation: Annotated[float | None, typer.Option(help="Validation rows, drawn from those that train: a share below 1, or a number.")] = None,
    start: Annotated[str | None, typer.Option("--from", callback=start_there, help="A model to start from, with its tokens, sizes and weights: a folder (of tenor pretrain, or an earlier training), or reviews-en. With --preset best, a classifier that starts there answers beside the small networks.")] = None,
    teacher: Annotated[list[str] | None, typer.Option(callback=model_there, help="A classifier of the same labels, whose answers on the rows without a label are learnt too; several: give it several times.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Share of each answer that is spread over all labels.")] = None,
    attention: Annotated[Literal["dot", "additive"] | None, typer.Option(help="How a translator finds where to look.")] = None,
    feeding: Annotated[bool, typer.Option("--feeding", help="Input feeding of a translator: what was said goes into the next step; trains in twice the time.")] = False,
    separate: Annotated[bool, typer.Option("--separate", help="A vocabulary for each side of a translator, not one for both.")] = False,
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
    """Check the data, train, test once, compare with a linear baseline, write a model folder. Other tasks: see --task."""
    say = Talk(as_json)
    with say.console.status("Loading ..."):
        from tenor.cells.kernels import check_environment
        from tenor.jobs.prepare import Order
        from tenor.jobs.train import train as run
        from tenor.training.presets import GIVEN
        from tenor.training.presets import preset as preset_of
    check_environment()
    changes = {
        "cell": cell, "layers": layers, "hidden": hidden, "embedding": embedding, "bidirectional": False if one_way else None, "networks": networks, "epochs": epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "max_tokens": max_tokens, "vocab": vocab, "tokens": tokens, "how": split,
        "train_rows": train_rows, "test_rows": test_rows, "validation": validation, "seed": seed, "device": device, "precision": precision, "label_smoothing": label_smoothing, "beside": beside,
        "attention": attention, "feeding": feeding or None, "shared": False if separate else None,
    }  # fmt: skip
    command = shlex.join(["tenor", *sys.argv[1:]])
    out_folder = out_folder if out_folder.name else out_folder.absolute()
    if task != "classify":
        from tenor.jobs.kinds import TaskOrder, kind_of

        kind = kind_of(task)
        check_heard(context, f"--task {task}", _SOME, kind.options)
        _train_task(TaskOrder(task, source, out_folder, kind.preset(**changes), text, label, skip_bad, resume, overwrite, command), kind.shown, as_json)
        return
    check_heard(context, "--task classify", _SOME, _SOME.keys() - _NOT_CLASSIFY)
    fixed = [name for name in (("vocab", "tokens") if preset == "best" else GIVEN) if changes[name] is not None]
    if start and fixed:
        given = "--one-way" if fixed[0] == "bidirectional" else f"--{fixed[0]}"
        raise TenorError(f"--from takes tokens and sizes from {start}, so {given} cannot be chosen. Leave it out, or pretrain with it.")
    order = Order(
        source, out_folder, lambda rows, start=None: preset_of(preset, rows, start, **changes), test=test, extra=extra, start=start, teachers=teacher or (), text=text, label=label,
        stars=stars, keep_overlap=keep_overlap, skip_bad=skip_bad, baseline=baseline, resume=resume, overwrite=overwrite, command=command,
    )  # fmt: skip
    with LiveBar() as events, say.download() as progress:
        metrics = run(order, say, events, progress)
    if as_json:
        print(json.dumps(metrics))
    else:
        show_training(metrics, out_folder)
    _check_finished(metrics, out_folder)


# Options that not every task has, by their parameters.
_SOME = {"label": "--label", "stars": "--stars", "preset": "--preset", "one_way": "--one-way", "split": "--split", "train_rows": "--train-rows", "test_rows": "--test-rows",
         "test": "--test", "extra": "--extra", "start": "--from", "baseline": "--no-baseline", "keep_overlap": "--keep-overlap", "teacher": "--teacher", "tokens": "--tokens", "vocab": "--vocab",
         "max_tokens": "--max-tokens", "embedding": "--embedding", "label_smoothing": "--label-smoothing", "beside": "--beside", "attention": "--attention", "feeding": "--feeding",
         "separate": "--separate", "networks": "--networks"}  # fmt: skip
_NOT_CLASSIFY = {"beside", "attention", "feeding", "separate"}


def _train_task(order: Any, shown: Literal["accuracy", "loss"], as_json: bool) -> None:
    from tenor.jobs.train_task import train_task

    say = Talk(as_json)
    with LiveBar(shown) as events, say.download() as progress:
        metrics = train_task(order, say, events, progress)
    if as_json:
        print(json.dumps(metrics))
    else:
        show_task(order.task, metrics, order.out)
    _check_finished(metrics, order.out)


def _check_finished(metrics: dict[str, Any], out_folder: Path) -> None:
    """130 after Ctrl-C, as shells have it."""
    if not metrics["finished"]:
        err.print(f"Interrupted: a usable model of what was learnt so far is in {out_folder}. The same command with --resume goes on.")
        raise typer.Exit(130)


def pretrain(
    source: Annotated[str, typer.Argument(help="Texts, labelled or not: a file, folder, archive or data set. Rows of a part named test are left out.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")] = Path("pretrained"),
    text: TextColumnName = None,
    cell: Annotated[Literal["lstm", "gru", "rnn"] | None, typer.Option(help=f"Kind of recurrent layer; {PRETRAIN.model.cell} if none is given.")] = None,
    hidden: Annotated[int | None, typer.Option(help=f"Units a direction; {PRETRAIN.model.hidden} if not given. Time grows nearly with their square.")] = None,
    embedding: Annotated[int | None, typer.Option(help=f"Size of the word vectors; {PRETRAIN.model.embedding} if not given.")] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Read each text from its start only.")] = False,
    layers: Annotated[int | None, typer.Option(help="Stacked recurrent layers; more than one with --one-way only.")] = None,
    epochs: Annotated[int | None, typer.Option(help=f"Passes over the texts; {PRETRAIN.train.epochs} if not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(help=f"Texts a step; {PRETRAIN.train.batch_size} if not given.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help=f"Adam's rate at its peak; {PRETRAIN.train.learning_rate} if not given.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help=f"Longer texts are read in pieces of at most so many; {PRETRAIN.text.max_tokens} if not given.")] = None,
    vocab: Annotated[int | None, typer.Option(help=f"Entries of the vocabulary; {PRETRAIN.text.vocab:,} at most if not given.")] = None,
    tokens: Annotated[Literal["word", "bpe"] | None, typer.Option(help=f"Words, or byte-pair pieces; {PRETRAIN.text.tokens} if not given.")] = None,
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
    check_environment()
    settings = {
        "cell": cell, "layers": layers, "hidden": hidden, "embedding": embedding, "bidirectional": False if one_way else None, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "max_tokens": max_tokens, "vocab": vocab, "tokens": tokens, "seed": seed, "device": device, "precision": precision,
    }  # fmt: skip
    out_folder = out_folder if out_folder.name else out_folder.absolute()
    order = PretrainOrder(source, out_folder, changed(PRETRAIN, settings), text, skip_bad, resume, overwrite, shlex.join(["tenor", *sys.argv[1:]]))
    with LanguageBar() as events, say.download() as progress:
        metrics = run(order, say, events, progress)
    if as_json:
        print(json.dumps(metrics))
    else:
        out.print(f"[bold]Written to {escape(str(out_folder))}/[/bold]\n  README.md (the model card) and the encoder, {metrics['seconds']['all']:.0f} s in all.\n  Use it: tenor train SOURCE --from {escape(str(out_folder))}")
    if not metrics["finished"]:
        err.print(f"Interrupted: what was learnt so far is in {out_folder}. The same command with --resume goes on.")
        raise typer.Exit(130)
