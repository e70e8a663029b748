"""How good a classifier is on rows it did not train on, with the interval that the number of rows allows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, log_loss, roc_auc_score

from tenor.results.calibrate import expected_error

# Upper ends of the slices by length, in tokens; film reviews have 230 on average.
SLICES = (50, 100, 200, 400)


def interval(right: int, rows: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    found = binomtest(right, rows).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def measure(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[Any], lengths: np.ndarray | None = None) -> dict[str, Any]:
    """Metrics of a classifier.

    Args:
        probabilities: [rows, labels]
        targets: [rows] label indexes.
        labels: names in the order of the columns; with two, the second is the positive one.
        lengths: [rows] tokens of each text before cutting, for the slices by length.

    Returns:
        rows, accuracy, accuracy_low, accuracy_high, f1 (of the positive label; of more than two labels the mean), auc
        (likewise one against the rest; None where a label is absent), loss, calibration_error (results/calibrate.py), confusion ([true][predicted]), labels, by_length.
    """
    predicted = probabilities.argmax(1)
    right = predicted == targets
    low, high = interval(int(right.sum()), len(right))
    every = list(range(len(labels)))
    two = len(labels) == 2
    result: dict[str, Any] = {
        "rows": len(right),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "f1": float(f1_score(targets, predicted, labels=every, average="binary" if two else "macro", zero_division=0)),
        "auc": None,
        "loss": float(log_loss(targets, np.clip(probabilities, 1e-15, 1), labels=every)),
        "calibration_error": expected_error(probabilities, targets),
        "confusion": confusion_matrix(targets, predicted, labels=every).tolist(),
        "labels": list(labels),
    }
    if len(set(targets.tolist())) == len(labels):
        result["auc"] = float(roc_auc_score(targets, probabilities[:, 1]) if two else roc_auc_score(targets, probabilities, multi_class="ovr", labels=every))
    if lengths is not None:
        result["by_length"] = list(_slices(right, lengths))
    return result


def _slices(right: np.ndarray, lengths: np.ndarray) -> list[dict[str, Any]]:
    out = []
    edges = [0, *SLICES, int(max(lengths.max(initial=0), SLICES[-1])) + 1]
    for low, high in itertools.pairwise(edges):
        inside = (lengths > low) & (lengths <= high) if low else lengths <= high
        if inside.any():
            share = interval(int(right[inside].sum()), int(inside.sum()))
            out.append({"tokens": f"{low + 1 if low else 0}-{high}" if high in SLICES else f"over {low}", "rows": int(inside.sum()),
                        "accuracy": float(right[inside].mean()), "accuracy_low": share[0], "accuracy_high": share[1]})  # fmt: skip
    return out


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Two classifiers on the same rows.

    Args:
        ours, theirs: [rows] bool, right or not.

    Returns:
        difference (ours minus theirs); its 95 % interval over rows (paired; Agresti and Min 2005: half a row added to each
        kind of disagreement); verdict: better, tie or worse (exact McNemar test at 0.05).
    """
    only_ours, only_theirs, rows = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(ours)
    apart = only_ours + only_theirs
    chance = float(binomtest(only_ours, apart).pvalue) if apart else 1.0
    verdict = "tie" if chance > 0.05 else "better" if only_ours > only_theirs else "worse"
    a, b, n = only_ours + 0.5, only_theirs + 0.5, rows + 2
    middle, half = (a - b) / n, 1.96 * (a + b - (a - b) ** 2 / n) ** 0.5 / n
    return {"difference": (only_ours - only_theirs) / rows, "difference_low": max(-1.0, middle - half), "difference_high": min(1.0, middle + half), "p": chance, "verdict": verdict}
