"""`tenor info`: what a model is, how good it was, and which kernel runs it here."""

from __future__ import annotations

from typing import Any

from tenor.box.names import BOX, model_folder, present
from tenor.cells.hardware import describe
from tenor.config import ModelConfig
from tenor.jobs.kinds import kind_of, made_of, several
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.results.report import calibrated, percent, shrunk, verdict
from tenor.store import Stored, read, size
from tenor.tasks import task_of


def machine() -> tuple[dict[str, Any], list[str]]:
    """What this machine runs recurrent layers with, and the models of the box (by name their folder, or None); and the same for people."""
    here, places = describe(), present()
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in here.items()]
    for name, place in places.items():
        lines += ["", *(info(name)[1] if place else [f"{name}: not in this install"])]
    return here | {"models": {name: str(place) if place else None for name, place in places.items()}}, lines


def info(model: str) -> tuple[dict[str, Any], list[str]]:
    """config, metrics, number of weights, bytes of the folder, kernel (of a classifier); and the same for people, the first line naming the model.

    Raises:
        TenorError: no model folder, damaged, or of a newer format.
    """
    folder = model_folder(model)
    stored = read(folder)
    if task_of(stored.config) not in ("classify", "pretrain"):
        return _of_kind(stored, model, size(folder))
    pretrained = stored.config.get("task") == "pretrain"
    found = Pretrained.of(stored, model) if pretrained else Pipeline.rebuilt(stored)
    weights = sum(w.size for w in stored.weights.values())
    numbers = {"config": stored.config, "metrics": stored.metrics, "weights": weights, "bytes": size(folder)}
    t = found.text
    kind = stored.config.get("weights", "float32")
    lines = [
        f"Network: {described(found)}; {weights:,} weights, stored as {kind}, {size(folder) / 1e6:.1f} MB in all",
        f"Texts: {t.tokens} tokens, {len(found.tokenizer):,} in the vocabulary, at most {t.max_tokens if isinstance(found, Pretrained) else found.max_tokens} a text (keeping the {t.keep})",
    ]
    if isinstance(found, Pretrained):
        return numbers, [f"{model}: pretrain", *lines, f"A training starts from it: tenor train SOURCE --from {model}"]
    box = f"; ships with Tenor ({BOX[model]})" if model in BOX else ""
    kernel = {"kernel": found.path}
    return numbers | kernel, [f"{model}: classify, labels {', '.join(map(str, found.labels))}{box}", *lines, f"Kernel here: {found.path}", *_results(stored)]


def described(found: Pipeline | Pretrained) -> str:
    """The networks that read and answer, for people."""
    if isinstance(found, Pretrained):
        return _sizes(found.model)
    own = f"{several(found.model.networks)}{_sizes(found.model)}, {found.model.pooling} pooling"
    return f"{own}; beside it, {beside_for(found)}, {described(found.beside)}" if found.beside else own


def beside_for(found: Pipeline) -> str:
    """How far what stands beside answers, and where."""
    where = f", where the first {'gives its' if found.model.networks == 1 else 'give their'} label less than {found.sure:.3f} (uncalibrated)" if found.sure < 1 else ""
    return f"for {found.share:.2f} of the answer{where}"


def _sizes(m: ModelConfig) -> str:
    return f"embedding {m.embedding}, {m.layers} x {'bidirectional ' if m.bidirectional else ''}{m.cell.upper()} {m.hidden}"


def _of_kind(stored: Stored, model: str, folder_bytes: int) -> tuple[dict[str, Any], list[str]]:
    task = task_of(stored.config)
    kind, metrics = kind_of(task), stored.metrics
    made = made_of(stored, task)
    weights = sum(w.size for w in stored.weights.values())
    numbers = {"config": stored.config, "metrics": metrics, "weights": weights, "bytes": folder_bytes, "kernel": made.path}
    network, *more = kind.described(made)
    return numbers, [
        f"{model}: {task}",
        f"Network: {network}; {weights:,} weights, stored as {stored.config.get('weights', 'float32')}, {folder_bytes / 1e6:.1f} MB in all",
        *more,
        f"Kernel here: {made.path}",
        *(f"{part.capitalize()}: {kind.measured(metrics[part])}" for part in ("validation", "test") if part in metrics),
        *([shrunk(metrics["shrunk"])] if "shrunk" in metrics else []),
    ]


def _results(stored: Stored) -> list[str]:
    metrics = stored.metrics
    test, linear = metrics.get("test"), metrics.get("baseline")
    return [
        *([f"Test ({metrics['split']}): {percent(test)}"] if test else []),
        *([verdict(test, linear, metrics["versus_baseline"])] if test and linear else []),
        calibrated(test, metrics.get("calibration")),
        *([shrunk(metrics["shrunk"])] if "shrunk" in metrics else []),
    ]
