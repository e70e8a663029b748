"""Where a translator looked, as a picture: a row each piece that it wrote, a column each piece that it read."""

from __future__ import annotations

import io
from typing import Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tenor.pipelines.translation import Attention

_CELL, _MARGIN = 0.32, 1.6  # inches


def picture(attention: Attention, kind: Literal["png", "svg"]) -> bytes:
    """The weights as shades of blue, those of a row together 1; signs are written as they stand, whatever they mean to matplotlib."""
    rows, columns = attention.weights.shape
    figure = Figure(figsize=(columns * _CELL + _MARGIN, rows * _CELL + _MARGIN), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(attention.weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(columns), labels=attention.source, rotation=90, parse_math=False)
    axes.set_yticks(range(rows), labels=attention.target, parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=120)
    return out.getvalue()
