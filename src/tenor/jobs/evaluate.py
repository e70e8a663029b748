"""`tenor evaluate`: a model on labelled rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenor.data.columns import match_labels
from tenor.data.datasets import Progress, resolve
from tenor.data.sources import Row, Rows, read_rows
from tenor.errors import TenorError, plural
from tenor.pipeline import Pipeline
from tenor.results.evaluate import measure


def evaluate(
    source: str, pipeline: Pipeline, part: str | None, text: str | None, label: str | None, stars: str, skip_bad: bool, progress: Progress | None = None
) -> dict[str, Any]:
    """Metrics of `results.evaluate.measure`, with seconds (tokenising and network), rows_per_second and notes.

    Raises:
        TenorError: no labelled row, a label the model does not know, or anything wrong with the files.
    """
    data, rows, targets = labelled(source, pipeline.labels, part, text, label, stars, skip_bad, progress)
    began = time.perf_counter()
    shares, lengths = pipeline.probabilities([r.text for r in rows])
    seconds = time.perf_counter() - began
    result = measure(shares, targets, pipeline.labels, lengths)
    notes = list(data.notes)
    if data.unlabelled:
        notes.append(f"{plural(data.unlabelled, 'row')} without a label left out.")
    lost = int(np.maximum(lengths - pipeline.text.max_tokens, 0).sum())
    return result | {"tokens_cut": lost, "seconds": round(seconds, 3), "rows_per_second": round(len(rows) / seconds, 1), "notes": notes}


def labelled(
    source: str, labels: Sequence[Any], part: str | None, text: str | None, label: str | None, stars: str, skip_bad: bool, progress: Progress | None = None
) -> tuple[Rows, list[Row], np.ndarray]:
    """What a source holds; its labelled rows (of a part), and [rows] indexes among a model's labels. Raises as evaluate does."""
    data = read_rows(resolve(source, progress), text, label, stars, skip_bad)
    rows = [r for r in data.rows if part is None or r.part == part]
    if not rows:
        raise TenorError(f"No labelled row in {data.name}{f' is of part {part!r}' if part else ''}; evaluation needs at least one. Choose the column with --label.")
    return data, rows, np.array(match_labels([r.label for r in rows], labels, data.name), np.int64)
