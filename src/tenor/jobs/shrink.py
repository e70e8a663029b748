"""`tenor shrink`: a trained model in few bytes, without report and curves; what that costs is measured where there are rows to do so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tenor import store
from tenor.box.names import model_folder
from tenor.compact import packed, unpacked
from tenor.data.datasets import Progress
from tenor.errors import TenorError
from tenor.jobs.evaluate import labelled, seen_in_training
from tenor.jobs.kinds import card_of
from tenor.pipelines.classification import Pipeline
from tenor.tasks import DOES, task_of


@dataclass(frozen=True)
class ShrinkOrder:
    """What the user asked for."""

    model: str
    out: Path
    weights: str = "int8"  # compact.KINDS
    check: str | None = None  # labelled rows to compare both models on
    part: str | None = None
    text: str | None = None
    label: str | None = None
    stars: str = "classes"
    skip_bad: bool = False
    overwrite: bool = False
    labels: tuple[str, ...] | None = None  # other names for the labels, in their order


def shrink(order: ShrinkOrder, progress: Progress | None = None) -> dict[str, Any]:
    """Run the job.

    Returns:
        weights (their kind), weight_bytes and weight_bytes_before, folder_bytes and folder_bytes_before, the folder's path; with rows to
        check on also check: rows, accuracy_before, accuracy_after, labels_changed, greatest_change (of a probability), kernel (that read the small one), and notes.

    Raises:
        TenorError: anything the user can mend; nothing is then written at `order.out`.
    """
    folder = model_folder(order.model)
    stored = store.read(folder)
    if order.out.resolve() == folder.resolve():
        raise TenorError(f"The small model goes into another folder than {order.model}, whose weights would be lost. Choose another --out.")
    store.check_free(order.out, order.overwrite)
    if order.check is not None and (task := task_of(stored.config)) != "classify":
        raise TenorError(f"--check compares the labels that both models give, and {order.model} {DOES[task]}. Leave it out{'' if task == 'pretrain' else ', and run tenor evaluate with each of them'}.")
    kept = stored.config.get("weights", "float32")
    if kept == order.weights and not order.labels and order.check is None:
        raise TenorError(f"{order.model} has {kept} weights already, so nothing would change. Choose another kind with --weights.")
    inside = packed(stored.weights, order.weights)
    found: dict[str, Any] = {"weights": order.weights, "weight_bytes_before": _bytes(packed(stored.weights, kept)), "weight_bytes": _bytes(inside)}
    config = {k: v for k, v in stored.config.items() if k not in ("format", "files")} | {"weights": order.weights}
    small = replace(stored, config=config, weights=unpacked(inside, order.weights))
    if order.check is not None:
        found["check"] = _compare(Pipeline.rebuilt(stored), Pipeline.rebuilt(small), order, progress) | {"notes": seen_in_training(stored, order.model, order.check, order.part)}
    if order.labels:
        if len(order.labels) != len(config["labels"]):
            raise TenorError(f"The model has the labels {config['labels']}; got {len(order.labels)} names for them.")
        config["labels"] = list(order.labels)
    small = replace(small, metrics=stored.metrics | {"shrunk": found})
    before = store.size(folder)
    store.write(order.out, small, {"README.md": card_of(task_of(config))(order.out.name, config, small.metrics, small.history)}, order.overwrite)
    return found | {"folder_bytes_before": before, "folder_bytes": store.size(order.out), "model": str(order.out)}


def _bytes(weights: Mapping[str, np.ndarray]) -> int:
    return sum(w.nbytes for w in weights.values())


def _compare(before: Pipeline, after: Pipeline, order: ShrinkOrder, progress: Progress | None) -> dict[str, Any]:
    assert order.check is not None
    _, rows, targets = labelled(order.check, before.labels, order.part, order.text, order.label, order.stars, order.skip_bad, progress)
    texts = [r.text for r in rows]
    (one, _), (other, _) = before.probabilities(texts), after.probabilities(texts)
    return {
        "rows": len(rows),
        "accuracy_before": float((one.argmax(1) == targets).mean()),
        "accuracy_after": float((other.argmax(1) == targets).mean()),
        "labels_changed": int((one.argmax(1) != other.argmax(1)).sum()),
        "greatest_change": float(abs(one - other).max()),
        "kernel": after.path,
    }
