"""Which commands there are, in the order of the help, and how an error ends one."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape

import tenor
from tenor.cli.chatting import chat
from tenor.cli.generating import generate
from tenor.cli.keeping import data, info, shrink
from tenor.cli.listening import transcribe
from tenor.cli.training import pretrain, train
from tenor.cli.translating import explain, translate
from tenor.cli.using import evaluate, predict
from tenor.errors import TenorError
from tenor.terminal import err

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False, help="Recurrent networks for your texts: train, evaluate, predict. Start with: [bold]tenor train sample --out my-model[/bold]")

COMMANDS: list[tuple[Callable[..., None], str]] = [  # the command, and what stands below its help
    (train, "Example: tenor train reviews.csv --text comment --label stars --out my-model"),
    (pretrain, "Example: tenor pretrain reviews.csv --out reviews-language; tenor train labelled.csv --from reviews-language --out my-model"),
    (generate, 'Examples: tenor generate "To be" -m my-model; tenor generate -m my-model --temperature 0.7 --stop "." --samples 16'),
    (transcribe, "Example: tenor transcribe call.wav memo.wav -m my-model"),
    (translate, 'Examples: tenor translate "ein Text" -m my-model; tenor translate -i texts.csv -o answers.csv -m my-model; cat lines.txt | tenor translate -i - -m my-model'),
    (chat, "Examples: tenor chat -m my-model; tenor chat -m my-model --prompt 'Good morrow.' --seed 1"),
    (explain, 'Example: tenor explain "ein Text" -m my-model -o attention.svg'),
    (evaluate, "Example: tenor evaluate new-reviews.csv -m my-model"),
    (predict, 'Examples: tenor predict "I loved every page."   ·   tenor predict "I loved every page." -m my-model   ·   tenor predict -i reviews.csv -o answers.csv -m my-model   ·   cat lines.txt | tenor predict -i - -m my-model'),
    (info, "Examples: tenor info; tenor info my-model"),
    (shrink, "Example: tenor shrink my-model --out my-model-small --check newer-reviews.csv"),
    (data, "Example: tenor data imdb"),
]
for command, example in COMMANDS:
    app.command(epilog=example)(command)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tenor {tenor.__version__}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")] = False) -> None:
    """What stands before the command."""


def main() -> None:
    """Entry point: a TenorError is printed and ends with 2; typer ends wrong usage with 2 and Ctrl-C with 130."""
    # Imports and rows are millions of objects that stay; looking through them for cycles took a fifth of loading and reading.
    gc.set_threshold(200_000, 50, 50)
    _let_threads_sleep()
    try:
        app()
    except TenorError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the answers has gone
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be read or written ({error.strerror}). Check the name, the permissions and the space on the disk.")
    finally:
        gc.freeze()  # or Python, when it ends, looks through them once more, for finalisers that we have none of: 1.1 of the 4.8 seconds of an answer of reviews-en on a Zen 3


def _let_threads_sleep() -> None:
    """A thread that waits for another looks 1,000 times, then sleeps; GNU's OpenMP would look 300,000 times, and so keep the core from the one that it waits for.

    Beside one other busy program a training on 2 cores is then 1.7 times as fast, beside two 7 to 16 times, and alone about as fast as before (docs/results.md). On more than 4 cores it was not measured, and
    nothing is changed. What OpenMP reads when it is loaded, with torch, must be in the environment before.
    """
    if (os.cpu_count() or 1) <= 4 and not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _fail(message: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": message}))
    err.print(f"[bold red]Error:[/bold red] {escape(message)}")
    sys.exit(2)
