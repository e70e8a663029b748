"""`--preset best --from` a language model of the reviews, on the official split, 3 seeds.

    TENOR_DATA=... python benchmarks/language.py    about an hour on 2 cores, 40 minutes of it the language model; one in runs/reviews-language is taken as it is

Writes benchmarks/results/language.json with the command, machine, versions and commit.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reviews import ARTICLE_SPLIT, RESULTS, ROOT, machine, run, seeds
from tenor import store
from tenor.data.datasets import resolve
from tenor.data.parts import is_test
from tenor.data.sources import read_rows, read_texts
from tenor.jobs.prepare import Order, prepare
from tenor.training.presets import preset

MODEL = ROOT / "runs" / "reviews-language"
SIZES = ("--hidden", 192, "--embedding", 128, "--epochs", 4)
EXPERIMENTS = {"how": "range", "train_rows": ARTICLE_SPLIT[3], "test_rows": 0, "validation": 6000}  # of docs/experiments.md


def write_texts(path: Path) -> None:
    """What it may read: no text of the test rows of either split, and none of the validation rows on which things are chosen."""
    tried = prepare(Order("imdb", path, lambda _rows, _start=None: preset("base", **EXPERIMENTS)))
    rows, labelled = read_texts(resolve("imdb")).rows, read_rows(resolve("imdb")).rows
    unread = {r.text.casefold() for r in [*labelled[-ARTICLE_SPLIT[5] :], *(r for r in rows if is_test(r.part))]} | {t.casefold() for t in tried.texts(tried.split.validation)}
    pq.write_table(pa.table({"text": [t for t in dict.fromkeys(r.text for r in rows) if t and t.casefold() not in unread]}), path)


def main() -> None:
    found: dict[str, Any] = {"made_with": "python benchmarks/language.py", "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        if not (MODEL / "config.json").exists():
            texts = Path(folder) / "texts.parquet"
            write_texts(texts)
            run("pretrain", texts, *SIZES, "--out", MODEL)
        metrics, history = store.read(MODEL).metrics, store.read(MODEL).history
        found["language_model"] = {"texts": metrics["data"]["texts"], "tokens": metrics["data"]["tokens"], "seconds": metrics["seconds"], "validation_nats": [e["validation_loss"] for e in history]}
        found |= seeds(Path(folder), "--preset", "best", "--split", "official", "--from", MODEL)
    (RESULTS / "language.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "runs"}))


if __name__ == "__main__":
    main()
