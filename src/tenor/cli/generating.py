"""The command of models that generate."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from tenor.cli.options import DeviceName, Json, ReadingPrecisionName, model_there
from tenor.cli.using import opened
from tenor.errors import TenorError
from tenor.terminal import err, out


def generate(
    model: Annotated[str, typer.Option("-m", "--model", callback=model_there, help="A model folder, as written by train --task generate.")],
    prompt: Annotated[str, typer.Argument(help="The text to go on with; none: a beginning.")] = "",
    length: Annotated[int, typer.Option(help="Tokens to write at most (characters, if the model writes these).")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 surer, above 1 wilder; 0: always the most probable.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw among so many tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw among the most probable tokens that together have this probability; 1: all.")] = 1.0,
    stop: Annotated[str, typer.Option(help="Write up to this text, and not it.")] = "",
    samples: Annotated[int, typer.Option(help="So many continuations, made side by side.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text; none: another one each time.")] = None,
    device: DeviceName = "auto",
    precision: ReadingPrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Go on with a prompt, character by character, as the training texts would."""
    if length < 1 or samples < 1:
        raise TenorError(f"length and samples must be at least 1; got {length} and {samples}.")
    with err.status("Loading ..."):
        from tenor.jobs.generate import any_seed, written
        from tenor.models.generate import Sampling
    sampling = Sampling(temperature, top_k, top_p, any_seed() if seed is None else seed)
    made = opened("generate", model, device, precision)
    if as_json:
        print(json.dumps(written(made, prompt, samples, length, sampling, stop)))
    elif samples == 1:
        pieces = made.stream(prompt, length, sampling, stop)
        sys.stdout.write(prompt)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
    else:
        for number, text in enumerate(made.several(prompt, samples, length, sampling, stop), 1):
            out.print(f"[bold]{number}[/bold]\n{escape(prompt + text)}")
