"""The numbers of docs/results.md for the main job: reading, tokenising, both presets, memory of prediction.

    TENOR_DATA=... python benchmarks/reviews.py            everything, about an hour on 2 cores
    TENOR_DATA=... python benchmarks/reviews.py read base  some of: read, quick, base, article, official, best, predict, speed

Each part writes benchmarks/results/PART.json with the command, machine, versions and commit. Every part checks what it
times: rows, tokens and answers must be right before a time counts.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2)
# A process counts the memory of the one that forked it as its own; a small one in between keeps this program's out.
_LAUNCHER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def machine() -> dict[str, Any]:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "") if Path("/proc/cpuinfo").exists() else platform.processor()
    commit = _git("describe", "--always") + ("-dirty" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results") else "")
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "commit": commit, **{p: version(p) for p in ("torch", "numpy", "tokenizers", "pyarrow", "scikit-learn")}}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def run(*arguments: object, threads: int | None = None) -> dict[str, Any]:
    """A command in a process of its own: its JSON, wall seconds from cold start to end, greatest resident memory. threads: that it may use; None: as it finds best."""
    command = [str(Path(sys.executable).with_name("tenor")), *map(str, arguments), "--json"]
    began = time.perf_counter()
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    done = subprocess.run([sys.executable, "-c", _LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=False, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}")
    text, kilobytes = done.stdout.rstrip().rsplit("\n", 1)
    shown = " ".join(["tenor", *(a.name if isinstance(a, Path) else str(a) for a in arguments)])
    return {"command": shown, "wall_seconds": round(seconds, 1), "peak_memory_mb": int(kilobytes) // 1024, "answer": json.loads(text)}


def training(out: Path, *options: object, source: object = "imdb", threads: int | None = None) -> dict[str, Any]:
    """A training and what it found. out: the model folder."""
    done = run("train", source, "--out", out, *options, threads=threads)
    answer = done.pop("answer")
    keep = ("accuracy", "accuracy_low", "accuracy_high", "f1", "auc", "rows")
    done |= {"test": {k: answer["test"][k] for k in keep}, "seconds": answer["seconds"], "split": answer["split"], "kernel": answer["kernel"], "best_epoch": answer["best_epoch"]}
    return done | ({"baseline": answer["baseline"], "versus_baseline": answer["versus_baseline"]} if "baseline" in answer else {})


def seeds(folder: Path, *options: object, baseline: bool = True) -> dict[str, Any]:
    """One run a seed, the first with the baseline beside it."""
    runs = [training(folder / f"model{len(list(folder.iterdir()))}", *options, "--seed", s, *([] if baseline and s == SEEDS[0] else ["--no-baseline"])) for s in SEEDS]
    return together(runs)


def together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Several results of `training`."""
    accuracies = [r["test"]["accuracy"] for r in runs]
    return {"mean_accuracy": statistics.mean(accuracies), "accuracies": accuracies, "wall_seconds": [r["wall_seconds"] for r in runs], "runs": runs}


ARTICLE_SPLIT = ("--split", "range", "--train-rows", 39_258, "--test-rows", 5_000)


def base(folder: Path) -> dict[str, Any]:
    return seeds(folder, "--preset", "base", "--epochs", 4, *ARTICLE_SPLIT)


def quick(folder: Path) -> dict[str, Any]:
    """Without the baseline, which takes longer than all the rest."""
    longer = seeds(folder, "--preset", "quick", "--hidden", 64, "--epochs", 2, *ARTICLE_SPLIT, baseline=False)
    return seeds(folder, "--preset", "quick", *ARTICLE_SPLIT, baseline=False) | {"64_units_2_epochs": longer}


def article(folder: Path) -> dict[str, Any]:
    return training(folder / "model", "--preset", "article", *ARTICLE_SPLIT)


def official(folder: Path) -> dict[str, Any]:
    """Films of train and test differ; 24,260 training rows."""
    return training(folder / "model", "--preset", "base", "--epochs", 4, "--split", "official")


def best(folder: Path) -> dict[str, Any]:
    """The same split; the rows without a label too. Of the article's split the box's card has it (benchmarks/box.py)."""
    return seeds(folder, "--preset", "best", "--split", "official")


def median(work: Callable[[], Any]) -> float:
    """Seconds, of 5 times after a warm-up."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def read(folder: Path) -> dict[str, Any]:
    """The CSV of the reviews: reading alone, then cleaning, vocabulary and ids; medians of 5 after a warm-up."""
    from tenor.config import TextConfig
    from tenor.data.datasets import resolve
    from tenor.data.sources import table_of
    from tenor.data.tables import Report
    from tenor.data.text import Chunks, Tokenizer, clean

    rows = [r.values for r in table_of(resolve("imdb")).records(["text", "label"], Report()) if r.values["label"] != "unsup"]
    path = folder / "IMDB Dataset.csv"
    raw = [r["text"] for r in rows]
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["review", "sentiment"])
        out.writerows((r["text"], r["label"]) for r in rows)

    def reading() -> list[str]:
        return [r.values["review"] for r in table_of(path).records(None, Report())]

    def indexing() -> int:
        chunks = Chunks.of([clean(t) for t in raw])
        return len(Tokenizer.train(chunks, TextConfig()).encode_chunks(chunks).values)

    assert reading() == raw
    return {
        "bytes": path.stat().st_size,
        "rows": len(rows),
        "tokens": indexing(),
        "read_seconds": round(median(reading), 2),
        "clean_tokenise_index_seconds": round(median(indexing), 2),
    }


def predict(folder: Path) -> dict[str, Any]:
    """Memory of `tenor predict -i` on a file and on one eight times as long."""
    from tenor.data.datasets import resolve
    from tenor.data.sources import read_rows

    model = folder / "model"
    run("train", "sample", "--out", model, "--epochs", 2, "--no-baseline")
    texts = [r.text for r in read_rows(resolve("imdb")).rows[:15_000]]
    out = {}
    for times in (1, 8):
        path = folder / f"{times}.csv"
        with open(path, "w", newline="", encoding="utf-8") as f:
            rows = csv.writer(f)
            rows.writerow(["text"])
            for _ in range(times):
                rows.writerows([t] for t in texts)
        done = run("predict", "-i", path, "-o", folder / f"{times}.out.csv", "-m", model)
        assert done["answer"]["rows"] == times * len(texts)
        out[f"{times}x"] = {"megabytes": path.stat().st_size >> 20, "rows": done["answer"]["rows"], "peak_memory_mb": done["peak_memory_mb"]}
    return out


def speed(folder: Path) -> dict[str, Any]:
    """Reviews a second that the model in the box reads, in each format: from texts in memory to probabilities (also if its large network were always asked), and by a command from a file to a file, its start included."""
    from tenor import TenorError, load
    from tenor.box.names import REVIEWS
    from tenor.data.datasets import resolve
    from tenor.data.sources import read_rows

    rows = read_rows(resolve("imdb")).rows[-ARTICLE_SPLIT[-1] :]
    texts, labels = [r.text for r in rows], [r.label for r in rows]
    out: dict[str, Any] = {}

    def rate() -> int:
        return round(len(texts) / median(lambda: model.predict_proba(texts)))

    for precision in ("int8", "bfloat16", "float32", "auto"):
        try:
            model = load(REVIEWS, device="cpu", precision=precision)
        except TenorError as error:  # this CPU lacks the format
            out[precision] = {"lacks": str(error)}
            continue
        answers = model.predict(texts).tolist()
        right = statistics.mean(answer.startswith(label) for answer, label in zip(answers, labels, strict=True))
        assert right > 0.9
        out[precision] = {"kernel": model.pipeline_.path, "accuracy": right, "reviews_per_second": rate()}
        bound, model.pipeline_.sure = model.pipeline_.sure, 1.0
        out[precision]["reviews_per_second_if_all_read_by_both"] = rate()
        model.pipeline_.sure = bound
    path = folder / "reviews.csv"
    with open(path, "w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([["text"], *([t] for t in texts)])
    walls = [run("predict", "-i", path, "-o", folder / f"{i}.csv")["wall_seconds"] for i in range(3)]
    with open(folder / "0.csv", newline="", encoding="utf-8") as f:
        assert [row["label"] for row in csv.DictReader(f)] == answers  # auto's, as the command takes it
    return {"reviews": len(texts), "in_memory": out, "command_seconds": walls}


PARTS = {"read": read, "quick": quick, "base": base, "article": article, "official": official, "best": best, "predict": predict, "speed": speed}


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    if set(wanted) - set(PARTS):
        raise SystemExit(__doc__)
    RESULTS.mkdir(exist_ok=True)
    for part in wanted:
        with tempfile.TemporaryDirectory() as folder:
            result = PARTS[part](Path(folder))
        text = json.dumps({"made_with": f"python benchmarks/reviews.py {part}", "machine": machine(), **result}, indent=2)
        (RESULTS / f"{part}.json").write_text(text + "\n")
        print(part, json.dumps({k: v for k, v in result.items() if k != "runs"}))


if __name__ == "__main__":
    main()
