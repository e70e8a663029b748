"""The commands of models that translate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tenor.cli.options import DeviceName, Json, Overwrite, PrecisionName, SkipBad, TextColumnName, model_there
from tenor.cli.using import answer, opened
from tenor.errors import TenorError
from tenor.terminal import err, out

Translator = Annotated[str, typer.Option("-m", "--model", callback=model_there, help="A model folder, as written by train --task translate.")]
Beam = Annotated[int, typer.Option(help="Follow so many beginnings side by side; 1: always the most probable token.")]
LengthPenalty = Annotated[float, typer.Option(help="The greater, the longer the translations.")]


def translate(
    model: Translator,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to translate.")] = None,
    source: Annotated[str | None, typer.Option("-i", "--input", help="A table to translate, or - for lines from a pipe.")] = None,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="The table to write: .csv, .tsv, .jsonl or .parquet.")] = None,
    text: TextColumnName = None,
    beam: Beam = 5,
    length_penalty: LengthPenalty = 1.0,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Translate texts, a file of any size, or the lines of a pipe."""
    with err.status("Loading ..."):
        from tenor.jobs.translate import Translations
        from tenor.models.translate import Search
    search = Search(beam, length_penalty)
    if texts and not all(t.strip() for t in texts):
        raise TenorError('A text of at least one word is needed; one is empty. Give it in quotes: tenor translate "a text" -m MODEL.')
    answer(lambda: Translations(opened("translate", model, device, precision), search), texts, source, target, text, skip_bad, overwrite, as_json, "tenor translate")


def explain(
    text: Annotated[str, typer.Argument(help="The text to translate.")],
    model: Translator,
    target: Annotated[Path, typer.Option("-o", "--output", help="The picture to write, .svg or .png.")],
    beam: Beam = 5,
    length_penalty: LengthPenalty = 1.0,
    overwrite: Overwrite = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    as_json: Json = False,
) -> None:
    """Translate a text and draw where the network looked while it wrote each piece."""
    with err.status("Loading ..."):
        from tenor.jobs.translate import explained
        from tenor.models.translate import Search
    if target.exists() and not overwrite:
        raise TenorError(f"{target} exists already, and nothing is overwritten unasked. Choose another -o, or add --overwrite.")
    found = explained(opened("translate", model, device, precision), text, target, Search(beam, length_penalty))
    if as_json:
        print(json.dumps(found))
        return
    out.print(f"[bold]{escape(found['translation'])}[/bold]\nDrawn to {escape(str(target))}: a row each piece that was written, a column each that was read; the darker, the more it was looked at.")
