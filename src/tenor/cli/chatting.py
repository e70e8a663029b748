"""The command of models that chat."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from tenor.cli.options import DeviceName, Json, PrecisionName, model_there
from tenor.cli.using import opened
from tenor.errors import TenorError
from tenor.terminal import err


def chat(
    model: Annotated[str, typer.Option("-m", "--model", callback=model_there, help="A model folder, as written by train --task chat.")],
    prompt: Annotated[str | None, typer.Option(help="Reply to this and end; without it, to each line that you write, until Ctrl-D.")] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 surer, above 1 wilder; 0: always the most probable.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Draw among the most probable tokens that together have this probability; 1: all.")] = 0.9,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same replies; none: others each time.")] = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Talk with a model: it replies word by word to what you write."""
    with err.status("Loading ..."):
        from tenor.jobs.generate import any_seed
        from tenor.models.generate import Sampling
    first = any_seed() if seed is None else seed
    Sampling(temperature, 0, top_p, first)
    made = opened("chat", model, device, precision)
    for number, line in enumerate(_lines(prompt)):
        if not line.strip():
            if prompt is not None:
                raise TenorError("A prompt of at least one word is needed; this one is empty.")
            continue
        pieces = made.stream(line, Sampling(temperature, 0, top_p, (first + number) % 2**32))
        if as_json:
            print(json.dumps({"prompt": line, "reply": "".join(pieces), "seed": first + number}), flush=True)
            continue
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


def _lines(prompt: str | None) -> Iterator[str]:
    """The one, or those of a terminal (with a sign that it is your turn) or a pipe, UTF-8 or not."""
    if prompt is not None:
        yield prompt
        return
    from tenor.data.files import decode

    while True:
        if sys.stdin.isatty():
            err.print("[bold]>[/bold] ", end="")
        line = decode(sys.stdin.buffer.readline())
        if not line:
            return
        yield line.rstrip("\r\n")
