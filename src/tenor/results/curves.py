"""Accuracy and loss per epoch: train in red, validation (or test) in blue; as PNG, SVG and in the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import plotext
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    files = {}
    for kind in ("png", "svg"):
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=120)
        files[f"curves.{kind}"] = out.getvalue()
    return files


def in_terminal(history: Sequence[dict[str, Any]], width: int = 78, height: int = 12) -> str:
    """The same two curves as text with colours."""
    plotext.clear_figure()
    plotext.subplots(1, 2)
    epochs = [e["epoch"] for e in history]
    for place, key in ((1, "accuracy"), (2, "loss")):
        panel = plotext.subplot(1, place)
        panel.theme("clear")
        panel.plot_size(width // 2, height)
        panel.plot(epochs, [e[key] for e in history], color="red", marker="braille", label="train")
        if history and f"validation_{key}" in history[0]:
            panel.plot(epochs, [e[f"validation_{key}"] for e in history], color="blue", marker="braille", label="validation")
        panel.title(key)
        panel.xticks(epochs if len(epochs) <= 10 else epochs[:: len(epochs) // 8])
    text: str = plotext.build()
    plotext.clear_figure()
    return text
