"""Commands about what lies on this machine: its kernels, model folders, data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from tenor.cli.options import Json, LabelColumnName, Overwrite, Part, SkipBad, Stars, TextColumnName, model_there
from tenor.errors import TenorError
from tenor.terminal import Talk, err, out


def info(
    model: Annotated[str | None, typer.Argument(callback=model_there, help="A model folder; without one, what this machine runs recurrent layers with.")] = None,
    named: Annotated[str | None, typer.Option("-m", "--model", callback=model_there, help="The same, as other commands take it.")] = None,
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


def shrink(
    model: Annotated[str, typer.Argument(callback=model_there, help="A model folder.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
    weights: Annotated[Literal["int8", "bfloat16", "float32"], typer.Option(help="How weights are stored: 1, 2 or 4 bytes each.")] = "int8",
    check: Annotated[str | None, typer.Option(help="For classifiers: labelled rows that the model has not trained on; both are compared on them.")] = None,
    part: Part = None,
    text: TextColumnName = None,
    label: LabelColumnName = None,
    stars: Stars = "classes",
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Store a model in a quarter of the bytes; a training can still start from it. A classifier or generator of int8 weights is read in 8 bits too, where the CPU can and --precision asks for nothing else."""
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
