"""The command of models that transcribe."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape

from tenor.cli.options import DeviceName, Json, PrecisionName, model_there
from tenor.cli.using import opened
from tenor.terminal import err, out


def transcribe(
    files: Annotated[list[str], typer.Argument(help="WAV files: 8 to 48 kHz, mono or stereo, 10 minutes at most.")],
    model: Annotated[str, typer.Option("-m", "--model", callback=model_there, help="A model folder, as written by train --task transcribe.")],
    beam: Annotated[int, typer.Option(help="Transcripts that are weighed against each other; 1: the most probable way, without a search.")] = 8,
    once: Annotated[bool, typer.Option("--once", help="Hear each sound as it is alone. Else those of up to a minute are heard nine times, as other voices and tempos would have them too, which takes longer and errs less with new voices.")] = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Write down what is said in sound files."""
    with err.status("Loading ..."):
        from tenor.jobs.transcribe import transcribed
    answers = transcribed(opened("transcribe", model, device, precision), files, beam, once)
    if as_json:
        print(json.dumps(answers))
        return
    for answer in answers:
        name = f"  [dim]{escape(answer['file'])}[/dim]" if len(answers) > 1 else ""
        out.print(f"{escape(answer['text'])}{name}")
        if not answer["text"]:
            err.print(f"In {escape(answer['file'])} no word was heard.")
