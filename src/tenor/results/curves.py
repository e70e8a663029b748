"""Accuracy and loss per epoch: train in red, validation (or test) in blue; as PNG, SVG and in the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAIN, OTHER = "#c62828", "#1565c0"


def draw(history: Sequence[dict[str, Any]], best_epoch: int, title: str, test_accuracy: float | None = None) -> dict[str, bytes]:
    """Files by name: curves.png and curves.svg."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    epochs = [e["epoch"] for e in history]
    for place, key, name in ((1, "accuracy", "accuracy"), (2, "loss", "loss")):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(epochs, [e[key] for e in history], color=TRAIN, marker="o", label="train")
        if history and f"validation_{key}" in history[0]:
            axes.plot(epochs, [e[f"validation_{key}"] for e in history], color=OTHER, marker="o", label="validation")
        if key == "accuracy" and test_accuracy is not None and best_epoch:
            axes.plot([best_epoch], [test_accuracy], color=OTHER, marker="*", markersize=12, linestyle="none", label=f"test {test_accuracy:.3f}")
        if best_epoch and len(epochs) > 1:
            axes.axvline(best_epoch, color="#9e9e9e", linestyle=":", linewidth=1, label="kept")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    files = {}
    for kind in ("png", "svg"):
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=120)
        files[f"curves.{kind}"] = out.getvalue()
    return files


def in_terminal(history: Sequence[dict[str, Any]], height: int = 8) -> str:
    """The same two curves, a column an epoch, as text in rich's markup (plotext changed its whole interface in 6.0)."""
    lines: list[str] = []
    for key in ("accuracy", "loss"):
        curves = [("red", [e[key] for e in history])]
        if f"validation_{key}" in history[0]:
            curves.append(("blue", [e[f"validation_{key}"] for e in history]))
        values = [v for _, curve in curves for v in curve]
        low, span = min(values), max(values) - min(values) or 1.0
        grid = [["  "] * len(history) for _ in range(height)]
        for colour, curve in curves:
            for x, value in enumerate(curve):
                y = height - 1 - round((value - low) / span * (height - 1))
                grid[y][x] = f"[{colour}]●[/{colour}] "
        lines.append(f"[bold]{key}[/bold]  [red]● train[/red]" + ("  [blue]● validation[/blue]" if len(curves) > 1 else ""))
        for y, row in enumerate(grid):
            number = f"{low + span * (height - 1 - y) / (height - 1):7.3f}" if y == height - 1 or (y == 0 and max(values) > low) else " " * 7
            lines.append(f"{number} ┤ {''.join(row)}".rstrip())
        lines.append(f"{'epoch':>7} └ 1 to {len(history)}")
    return "\n".join(lines)
