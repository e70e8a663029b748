"""`--preset best --from` a language model of the reviews: 3 seeds on the official split, one on the article's.

    TENOR_DATA=... python benchmarks/language.py                       all, two trainings at a time on a core each (two hours a pair with AMX); before them the language model (32 minutes on 2 cores there), unless it was finished before
    TENOR_DATA=... python benchmarks/language.py article official 0    some of: official (followed by seeds: those alone), article

What was stopped goes on by the same command at the same commit. Each part writes benchmarks/results/language_PART.json (official_SEEDS where only some were asked for) with the command, machine, versions and commit.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from reviews import ARTICLE_SPLIT, RESULTS, ROOT, SEEDS, machine, run, together, training
from tenor import store
from tenor.data.datasets import resolve
from tenor.data.parts import is_test
from tenor.data.sources import read_rows, read_texts
from tenor.jobs.prepare import Order, prepare
from tenor.training.presets import preset

MODEL = ROOT / "runs" / "reviews-language-512"  # the box, which must read 5,000 reviews a second, starts from a smaller one (benchmarks/box.py)
SIZES = ("--hidden", 512, "--embedding", 256, "--epochs", 3)
EXPERIMENTS: dict[str, Any] = {"how": "range", "train_rows": ARTICLE_SPLIT[3], "test_rows": 0, "validation": 6000}  # of docs/experiments.md


def write_texts(path: Path) -> None:
    """What it may read: no text of the test rows of either split, and none of the validation rows on which things are chosen."""
    tried = prepare(Order("imdb", path, lambda _rows, _start=None: preset("base", **EXPERIMENTS)))
    rows, labelled = read_texts(resolve("imdb")).rows, read_rows(resolve("imdb")).rows
    unread = {r.text.casefold() for r in [*labelled[-ARTICLE_SPLIT[-1] :], *(r for r in rows if is_test(r.part))]} | {t.casefold() for t in tried.texts(tried.split.validation)}
    pq.write_table(pa.table({"text": [t for t in dict.fromkeys(r.text for r in rows) if t and t.casefold() not in unread]}), path)


def pretrained(at: Path = MODEL, sizes: tuple[object, ...] = SIZES) -> Path:
    """A language model, made if it is not there."""
    if not (at / "config.json").exists():
        with tempfile.TemporaryDirectory() as folder:
            texts = Path(folder) / "texts.parquet"
            write_texts(texts)
            run("pretrain", texts, *sizes, "--out", at)
    model = store.read(at)
    found = {"--hidden": model.config["model"]["hidden"], "--embedding": model.config["model"]["embedding"], "--epochs": len(model.history)}
    if (wanted := dict(zip(sizes[::2], sizes[1::2], strict=True))) != found:
        raise SystemExit(f"{at} holds a language model of {found}, and what is measured starts from one of {wanted}. Remove it, or move it away.")
    return at


def described(at: Path) -> dict[str, Any]:
    """What results tell of the language model that they start from."""
    made = store.read(at)
    data = made.metrics["data"]
    return {"texts": data["texts"], "tokens": data["tokens"], "seconds": made.metrics["seconds"], "validation_nats": [e["validation_loss"] for e in made.history]}


class Part(NamedTuple):
    """result: the name of the file that tells of it; folder: the model's, under runs/language and the commit; options: of the training."""

    result: str
    folder: str
    options: tuple[object, ...]


def parts(asked: Sequence[str]) -> list[Part]:
    """Every training that the command line asks for."""
    names, seeds = [a for a in asked if not a.isdigit()] or ["article", "official"], [int(a) for a in asked if a.isdigit()]
    if unknown := set(names) - {"official", "article"}:
        raise SystemExit(f"There are the parts official and article; got {', '.join(sorted(unknown))}.")
    if len(set(seeds)) < len(seeds) or (seeds and "official" not in names):
        raise SystemExit(f"Seeds are of the part official, each once; got {' '.join(asked)}.")
    found = [Part("language_article", "article", ARTICLE_SPLIT)] if "article" in names else []
    result = "_".join(["language_official", *map(str, seeds)])
    for place, seed in enumerate(seeds or SEEDS if "official" in names else ()):
        found.append(Part(result, f"official-{seed}", ("--split", "official", "--seed", seed, *(["--no-baseline"] if place else []))))
    return found


def trained(part: Part, threads: int, commit: str) -> dict[str, Any]:
    """Its result. What was stopped goes on, and what has ended is read again: by the same code, as the folder's name says."""
    out = ROOT / "runs" / "language" / commit / part.folder
    out.parent.mkdir(parents=True, exist_ok=True)
    went_on = out.exists() or out.with_name(f"{out.name}.training").exists()
    found = training(out, "--preset", "best", *part.options, "--from", MODEL, "--resume", threads=threads)
    if went_on:
        found["wall_seconds"] = None  # of the last start alone
    print(json.dumps(found), flush=True)
    return {"part": part.result, "threads": threads, "went_on": went_on} | found


def side_by_side(train: Callable[[Any, int], dict[str, Any]], given: Sequence[Any]) -> list[dict[str, Any]]:
    """Two trainings at a time, each on half of the cores; the last of an odd number has all of them. train: is given one and its threads."""
    done: list[dict[str, Any]] = []
    for first in range(0, len(given), 2):
        here = given[first : first + 2]
        threads = max(1, (os.cpu_count() or 1) // len(here))
        with ThreadPoolExecutor(len(here)) as pool:
            done += pool.map(train, here, [threads] * len(here))
    return done


def main() -> None:
    asked = parts(sys.argv[1:])
    language = described(pretrained())
    stamp = machine()  # of what is measured, which takes hours
    if stamp["commit"].endswith("-dirty"):
        raise SystemExit("Trainings go on by the commit that began them; commit what is changed first.")
    done = side_by_side(partial(trained, commit=stamp["commit"]), asked)
    for name in dict.fromkeys(part.result for part in asked):
        runs = [{k: v for k, v in run.items() if k != "part"} for run in done if run["part"] == name]
        found: dict[str, Any] = {"made_with": " ".join(["python benchmarks/language.py", *sys.argv[1:]]), "machine": stamp, "language_model": language, **together(runs)}
        (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps({k: v for k, v in found.items() if k != "runs"}), flush=True)


if __name__ == "__main__":
    main()
