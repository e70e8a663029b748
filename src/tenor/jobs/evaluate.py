"""`tenor evaluate`: a model on labelled rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tenor.box.names import BOX
from tenor.data.columns import match_labels
from tenor.data.datasets import Progress, place_of, resolve
from tenor.data.sources import Row, Rows, read_rows
from tenor.errors import TenorError, plural
from tenor.pipelines.classification import Pipeline
from tenor.results.evaluate import measure
from tenor.store import Stored


def evaluate(
    source: str, pipeline: Pipeline, part: str | None, text: str | None, label: str | None, stars: str, skip_bad: bool, progress: Progress | None = None, stored: Stored | None = None, name: str = "MODEL"
) -> dict[str, Any]:
    """Metrics of `results.evaluate.measure`, with seconds (tokenising and network), rows_per_second and notes; `stored` is the model's folder, which says what it was trained on, and `name` what it is called.

    Raises:
        TenorError: no labelled row, a label the model does not know, or anything wrong with the files.
    """
    data, rows, targets = labelled(source, pipeline.labels, part, text, label, stars, skip_bad, progress)
    began = time.perf_counter()
    shares, lengths = pipeline.probabilities([r.text for r in rows])
    seconds = time.perf_counter() - began
    result = measure(shares, targets, pipeline.labels, lengths)
    notes = [*(seen_in_training(stored, name, source, part) if stored else []), *data.notes]
    if data.unlabelled:
        notes.append(f"{plural(data.unlabelled, 'row')} without a label left out.")
    if stars == "classes" and {r.label for r in rows} == {"1"} and "1" not in map(str, pipeline.labels):
        notes.append(f"Every row has the label 1, which counts as {pipeline.labels[targets[0]]}. If it is the lowest rating, say so with --stars 5 or --stars 10.")
    lost = int(np.maximum(lengths - pipeline.max_tokens, 0).sum())
    return result | {"tokens_cut": lost, "seconds": round(seconds, 3), "rows_per_second": round(len(rows) / seconds, 1), "notes": notes}


def labelled(
    source: str, labels: Sequence[Any], part: str | None, text: str | None, label: str | None, stars: str, skip_bad: bool, progress: Progress | None = None
) -> tuple[Rows, list[Row], np.ndarray]:
    """What a source holds; its labelled rows (of a part), and [rows] indexes among a model's labels. Raises as evaluate does."""
    data = read_rows(resolve(source, progress), text, label, stars, skip_bad)
    rows = [r for r in data.rows if part is None or r.part == part]
    if not data.rows:
        raise TenorError(f"No labelled row in {data.name}; evaluation needs at least one. Choose the column with --label.")
    if not rows:
        found = ", ".join(sorted({r.part for r in data.rows if r.part}))
        has = f"its parts are {found}" if found else "it has no parts of its own (a column named split, or folders train and test)"
        raise TenorError(f"No labelled row of {data.name} is of part {part}; {has}. Leave --part out to take all rows.")
    return data, rows, np.array(match_labels([r.label for r in rows], labels, data.name, rated=stars == "classes"), np.int64)


def seen_in_training(stored: Stored, name: str, source: str, part: str | None) -> list[str]:
    """A warning if the source that a model is asked about, or this part of it, is what it was trained on; of a model of the box, also if it may hold copies."""
    config, found = stored.config, stored.metrics.get("data", {})
    extra = found.get("extra", 0)
    if extra and place_of(config["extra"]) == place_of(source):
        return [f"Warning: this model has learnt from {plural(extra, 'row')} of {source} (--extra), so the accuracy here is better than on new texts. Take rows that it has not seen."]
    rows = found.get("train", 0) - extra + found.get("validation", 0)
    if not rows or "source" not in config:
        return []
    if place_of(config["source"]) != place_of(source):
        known = f"{name} has learnt from {plural(rows, 'row')} of the data set {config['source']}: where copies of them stand in {source}, the accuracy here is better than on new texts."
        return [known] if name in BOX else []
    official = config.get("split", {}).get("how") == "official" and not config.get("test")
    if official and part == "test":
        return []
    unseen = stored.metrics.get("test", {}).get("rows", 0)
    way = "Rows that it has not seen: --part test." if official else f"Its result on {plural(unseen, 'row')} that it has not seen: tenor info {name}." if unseen else "Take rows that it has not seen."
    return [f"Warning: this model has seen {plural(rows, 'row')} of {source} in its training (split: {stored.metrics.get('split')}), so the accuracy here is better than on new texts. {way}"]


def learnt_from(stored: Stored, source: str, part: str | None) -> list[str]:
    """The same of a model of another task, which learns from all parts of a source but those named test."""
    if "source" not in stored.config or place_of(stored.config["source"]) != place_of(source) or (part or "").casefold().startswith("test"):
        return []
    return [f"Warning: this model was trained on {source}, so it does better here than on what is new to it. Rows that it has not seen, if the data names such: --part test."]
