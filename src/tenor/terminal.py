"""What a user sees: sentences, tables, progress bars while a command works, and how Ctrl-C is heard."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from tenor.training.events import Events, State

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Bar(Progress):
    """Rich's, and nothing where nobody watches: at its end it would print an empty line into a log or a pipe."""

    def start(self) -> None:
        if self.console.is_interactive:
            super().start()

    def stop(self) -> None:
        if self.console.is_interactive:
            super().stop()


class Talk:
    """Prints what a job says; with --json nothing but the object goes to standard output."""

    def __init__(self, as_json: bool) -> None:
        self.console = err if as_json else out
        self.quiet = as_json

    def __call__(self, heading: str, sentences: list[str]) -> None:
        if not self.quiet:
            self.console.print(f"[bold]{heading}[/bold]")
            for sentence in sentences:
                self.console.print(f"  {escape(sentence)}")

    @contextmanager
    def download(self) -> Iterator[Any]:
        """A progress bar in bytes that appears with the first block."""
        bar = Bar(TextColumn("Downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), console=err)

        def progress(done: int, total: int) -> None:
            if not bar.task_ids:
                bar.start()
                bar.add_task("", total=total)
            bar.update(bar.task_ids[0], completed=done)
            if done >= total:
                bar.stop()

        try:
            yield progress
        finally:
            bar.stop()


class LiveBar(Events):
    """A progress bar of the training; the first Ctrl-C (or kill) asks the loop to stop after its step, the second ends."""

    def __init__(self, measure: Literal["accuracy", "loss"] = "accuracy") -> None:
        """measure: the number of the validation rows that is shown after an epoch."""
        self.measure = measure
        columns = (SpinnerColumn(), TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"), BarColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn())
        self.bar = Bar(*columns, console=err, transient=True)
        self.asked = False
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> LiveBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.bar.stop()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def training(self, what: str) -> None:
        err.print(f"[bold]Training[/bold] {escape(what)}")

    def begin(self, epochs: int, batches: int, state: State) -> None:
        # Only now is there something to save; before, Ctrl-C simply ends.
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self._ask)
        self.batches = batches
        for earlier in self.bar.task_ids:  # of a job with several trainings
            self.bar.remove_task(earlier)
        self.bar.start()
        self.task = self.bar.add_task("", total=epochs * batches, completed=state.step, epoch=state.epoch + 1, epochs=epochs, numbers="")

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def step(self, state: State) -> None:
        speed = state.tokens / max(state.epoch_seconds, 1e-9)
        numbers = f"{self.measured(state)}  {speed / 1000:,.0f}k tokens/s"
        self.bar.update(self.task, completed=state.step, epoch=(state.step - 1) // self.batches + 1, numbers=numbers)

    def measured(self, state: State) -> str:
        rows = max(1, state.rows)  # a first batch may have no row with a label
        return f"loss {state.loss / rows:.3f}  accuracy {state.right / rows:.3f}"

    def epoch(self, entry: dict[str, Any]) -> None:
        validation = f", validation {entry[f'validation_{self.measure}']:.4f}" if f"validation_{self.measure}" in entry else ""
        other = "loss" if self.measure == "accuracy" else "accuracy"
        err.print(
            f"  epoch {entry['epoch']}: {self.measure} train {entry[self.measure]:.4f}{validation}, {other} {entry[other]:.4f}, "
            f"{entry['seconds']:.0f} s, {entry['tokens_per_second']:,} tokens/s"
        )

    def stop(self) -> bool:
        return self.asked


class LanguageBar(LiveBar):
    """The same of a pretraining, where no row is right or wrong: how well words are foretold."""

    def measured(self, state: State) -> str:
        return f"{state.loss / state.rows:.3f} nats a word"

    def epoch(self, entry: dict[str, Any]) -> None:
        validation = f", validation {entry['validation_loss']:.4f}" if "validation_loss" in entry else ""
        err.print(
            f"  epoch {entry['epoch']}: nats a word, among words that are drawn: train {entry['loss']:.4f}{validation}, "
            f"{entry['seconds']:.0f} s, {entry['tokens_per_second']:,} tokens/s"
        )


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A running count, for work whose size is not known."""
    with Bar(SpinnerColumn(), TextColumn(f"{{task.completed:,}} {what}"), console=err, transient=True) as bar:
        task = bar.add_task("")
        yield lambda done: bar.update(task, completed=done)


def show_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(head):
        table.add_column(escape(name), justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


def show_training(metrics: dict[str, Any], folder: Path) -> None:
    """What a training came to."""
    from tenor.results.curves import in_terminal
    from tenor.results.report import percent, verdict

    if len(metrics["history"]) > 1:
        out.print(in_terminal(metrics["history"]))
    out.print(f"[bold]Kernel[/bold]\n  {escape(metrics['kernel'])}")
    if "test" in metrics:
        out.print(f"[bold]Test[/bold]\n  {percent(metrics['test'])}")
    if "baseline" in metrics:
        out.print(f"[bold]Beside the linear baseline[/bold] ({metrics['baseline']['name']})\n  {verdict(metrics['test'], metrics['baseline'], metrics['versus_baseline'])}")
    out.print(f"[bold]Written to {escape(str(folder))}/[/bold]\n  report.html, curves.png, README.md (the model card) and the model, {metrics['seconds']['all']:.0f} s in all.")
    out.print(f'  Use it: tenor predict "a text" -m {escape(str(folder))}')


def show_task(task: str, metrics: dict[str, Any], folder: Path) -> None:
    """What the training of a model of any other task came to."""
    from tenor.jobs.kinds import kind_of, use_of
    from tenor.results.curves import in_terminal

    if len(metrics["history"]) > 1:
        out.print(in_terminal(metrics["history"]))
    out.print(f"[bold]Kernel[/bold]\n  {escape(metrics['kernel'])}")
    for part, heading in (("validation", f"[bold]Validation[/bold], which chose epoch {metrics['best_epoch']}"), ("test", "[bold]Test[/bold]")):
        if part in metrics:
            out.print(f"{heading}\n  {escape(kind_of(task).measured(metrics[part]))}")
    out.print(f"[bold]Written to {escape(str(folder))}/[/bold]\n  curves.png, README.md (the model card) and the model, {metrics['seconds']['all']:.0f} s in all.")
    out.print(f"  Use it: {escape(use_of(task, folder))}")
