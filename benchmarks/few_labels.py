"""500 labelled reviews and 88,000 without a label: `--preset best --from` a language model of the reviews, 3 draws of the 500.

    TENOR_DATA=... python benchmarks/few_labels.py        42 minutes a draw on one core with AMX, two at a time; before them the language model (32 minutes there), unless it was finished before
    TENOR_DATA=... python benchmarks/few_labels.py 0 1    some of the draws

Drawn from the training rows of the article's split, tested on its 5,000 test rows; 50 of the 500 validate. Written to benchmarks/results/few_labels.json.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from language import described, pretrained, side_by_side
from reviews import ARTICLE_SPLIT, RESULTS, SEEDS, machine, together, training
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows, read_texts

LABELLED = 500


def write(path: Path, rows: Iterable[tuple[str, str | int]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["text", "label"])
        out.writerows(rows)


def main() -> None:
    draws = [int(n) for n in sys.argv[1:]] or list(SEEDS)
    model, stamp = pretrained(), machine()
    labelled = read_rows(resolve("imdb")).rows
    train, test = labelled[: ARTICLE_SPLIT[3]], labelled[-ARTICLE_SPLIT[-1] :]
    unseen = {r.text.casefold() for r in labelled}
    without = [r.text for r in read_texts(resolve("imdb")).rows if r.text and r.text.casefold() not in unseen]

    def trained(draw: int, threads: int) -> dict[str, Any]:
        chosen = set(np.random.default_rng(draw).choice(len(train), LABELLED, replace=False).tolist())
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / "test.csv", ((r.text, r.label) for r in test))
            write(folder / "few.csv", [*((r.text, r.label if i in chosen else "") for i, r in enumerate(train)), *((text, "") for text in without)])
            found = {"draw": draw, "threads": threads} | training(folder / "model", "--preset", "best", "--test", folder / "test.csv", "--from", model, source=folder / "few.csv", threads=threads)
        print(json.dumps(found), flush=True)
        return found

    runs = side_by_side(trained, draws)
    numbers: dict[str, Any] = {"labelled": LABELLED, "without_a_label": len(train) - LABELLED + len(without)}
    baselines = [r["baseline"]["accuracy"] for r in runs]
    numbers |= {"mean_of_baselines": statistics.mean(baselines), "baselines": baselines}
    (RESULTS / "few_labels.json").write_text(json.dumps({"made_with": " ".join(["python benchmarks/few_labels.py", *sys.argv[1:]]), "machine": stamp, "language_model": described(model), **numbers, **together(runs)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
