"""Options that several commands take, each said once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

import typer

from tenor.box.names import model_folder
from tenor.errors import TenorError


def model_there(model: str | list[str] | None) -> str | list[str] | None:
    """For an option or argument that names a model, or several: a wrong one is told at once, and not after torch has been loaded. Raises TenorError."""
    from tenor.store import check_there  # which loads numpy

    for name in [model] if isinstance(model, str) else model or []:
        check_there(model_folder(name))
    return model


def start_there(model: str | None) -> str | None:
    """The same for what a training starts from."""
    from tenor.store import check_there

    if model is not None:
        check_there(model_folder(model), starts=True)
    return model


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Model = Annotated[str, typer.Option("-m", "--model", callback=model_there, help="A model folder, as written by train; or reviews-en, which ships with Tenor.")]
TextColumnName = Annotated[str | None, typer.Option("--text", help="Column of the texts; found by itself if its name is usual.")]
LabelColumnName = Annotated[str | None, typer.Option("--label", help="Column of the labels; found by itself if its name is usual.")]
Stars = Annotated[Literal["classes", "5", "10"], typer.Option(help="Ratings as labels: each a class of its own; or, on a scale to 5 or 10, low ones negative, high ones positive, the middle left out.")]
Part = Annotated[str | None, typer.Option(help="Only this part of the data's own split: train, test, or as its column of parts has it.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out broken lines and count them.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped; give the same command again.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same model.")]
DeviceName = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]
PrecisionName = Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Number format of the recurrent layers.")]
ReadingPrecisionName = Annotated[Literal["auto", "float32", "bfloat16", "int8"], typer.Option(help="Number format of the recurrent layers; int8 reads and writes fastest, and is what auto takes for a classifier or generator whose weights are stored so, where the CPU has it.")]


def check_heard(context: typer.Context, who: str, some: Mapping[str, str], heard: Collection[str]) -> None:
    """some: options that not all have, by their parameters; heard: those of them that `who` has. Raises TenorError if one is given that would be left unheard."""
    given = [option for name, option in some.items() if name not in heard and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        raise TenorError(f"{who} has no {', '.join(given)}. Leave {'it' if len(given) == 1 else 'them'} out.")
