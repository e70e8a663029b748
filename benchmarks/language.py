"""`--preset best --from` a language model of the reviews: 3 seeds on the official split, one on the article's.

    TENOR_DATA=... python benchmarks/language.py            both, about 3 hours on 2 cores, half an hour of them the language model; one of these sizes in runs/reviews-language is taken as it is
    TENOR_DATA=... python benchmarks/language.py article    one of: official, article

Each part writes benchmarks/results/language_PART.json with the command, machine, versions and commit.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reviews import ARTICLE_SPLIT, RESULTS, ROOT, machine, run, seeds, training
from tenor import store
from tenor.data.datasets import resolve
from tenor.data.parts import is_test
from tenor.data.sources import read_rows, read_texts
from tenor.jobs.prepare import Order, prepare
from tenor.training.presets import preset

MODEL = ROOT / "runs" / "reviews-language"
SIZES = ("--hidden", 192, "--embedding", 128, "--epochs", 4)
EXPERIMENTS: dict[str, Any] = {"how": "range", "train_rows": ARTICLE_SPLIT[3], "test_rows": 0, "validation": 6000}  # of docs/experiments.md


def write_texts(path: Path) -> None:
    """What it may read: no text of the test rows of either split, and none of the validation rows on which things are chosen."""
    tried = prepare(Order("imdb", path, lambda _rows, _start=None: preset("base", **EXPERIMENTS)))
    rows, labelled = read_texts(resolve("imdb")).rows, read_rows(resolve("imdb")).rows
    unread = {r.text.casefold() for r in [*labelled[-ARTICLE_SPLIT[-1] :], *(r for r in rows if is_test(r.part))]} | {t.casefold() for t in tried.texts(tried.split.validation)}
    pq.write_table(pa.table({"text": [t for t in dict.fromkeys(r.text for r in rows) if t and t.casefold() not in unread]}), path)


def pretrained() -> Path:
    """The language model, made if it is not there."""
    if not (MODEL / "config.json").exists():
        with tempfile.TemporaryDirectory() as folder:
            texts = Path(folder) / "texts.parquet"
            write_texts(texts)
            run("pretrain", texts, *SIZES, "--out", MODEL)
    model = store.read(MODEL)
    found = {"--hidden": model.config["model"]["hidden"], "--embedding": model.config["model"]["embedding"], "--epochs": len(model.history)}
    if (wanted := dict(zip(SIZES[::2], SIZES[1::2], strict=True))) != found:
        raise SystemExit(f"{MODEL} holds a language model of {found}, and what is measured starts from one of {wanted}. Remove it, or move it away.")
    return MODEL


def official(folder: Path) -> dict[str, Any]:
    return seeds(folder, "--preset", "best", "--split", "official", "--from", MODEL)


def article(folder: Path) -> dict[str, Any]:
    return training(folder, "--preset", "best", *ARTICLE_SPLIT, "--from", MODEL)


PARTS = {"official": official, "article": article}


def main() -> None:
    parts = sys.argv[1:] or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        raise SystemExit(f"There are the parts {', '.join(PARTS)}; got {', '.join(sorted(unknown))}.")
    made = store.read(pretrained())
    metrics, history = made.metrics, made.history
    with tempfile.TemporaryDirectory() as folder:
        language = {"texts": metrics["data"]["texts"], "tokens": metrics["data"]["tokens"], "seconds": metrics["seconds"], "validation_nats": [e["validation_loss"] for e in history]}
        for name in parts:
            found: dict[str, Any] = {"made_with": f"python benchmarks/language.py {name}", "machine": machine(), "language_model": language, **PARTS[name](Path(folder))}
            (RESULTS / f"language_{name}.json").write_text(json.dumps(found, indent=2) + "\n")
            print(json.dumps({k: v for k, v in found.items() if k != "runs"}))


if __name__ == "__main__":
    main()
