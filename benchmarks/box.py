"""The model that ships inside the package: trained, made small, measured, its card written. One command makes all of src/tenor/box/reviews-en.

    TENOR_DATA=... python benchmarks/box.py                    trains by RECIPE first, an hour and three quarters on a fast core, 46 minutes of them its language model
    TENOR_DATA=... python benchmarks/box.py --model FOLDER     from a model trained already
    TENOR_DATA=... python benchmarks/box.py --card             the model that is there, measured anew, with its card

Nothing is chosen here. The held-out reviews are the last 5,000 of the article's split; a model trained on other rows has read some of them.
Refuses more than 8 MB and paths of this machine. Writes benchmarks/results/box.json too.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from language import pretrained
from lessons import counts
from lessons import write as write_lessons
from minimal_pairs import CASES, REVIEW_PAIRS, Pair, hash_of, json_lines, of_reviews, revisions, written
from reviews import ARTICLE_SPLIT, RESULTS, ROOT, machine
from tenor import store
from tenor.box.names import FOLDER, REVIEWS
from tenor.data.columns import match_labels
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows
from tenor.data.text import clean
from tenor.jobs.answers import Labels
from tenor.jobs.evaluate import evaluate
from tenor.jobs.info import described
from tenor.jobs.prepare import Data, Order, prepare
from tenor.jobs.shrink import ShrinkOrder, shrink
from tenor.models.classify import read_logits
from tenor.pipelines.classification import Pipeline
from tenor.results.baseline import baseline
from tenor.results.evaluate import interval
from tenor.results.report import ERROR_IS, calibrated, shrunk
from tenor.training.first import MOST_LOST
from tenor.training.presets import preset

LESSONS = ROOT / "runs" / "lessons.parquet"
LANGUAGE, LANGUAGE_SIZES = ROOT / "runs" / "reviews-language", ("--hidden", 192, "--embedding", 128, "--epochs", 4)
# Two small networks on vectors of 24, and a classifier from a language model that has read no test row: so it is under MOST_BYTES, and reads 5,000 reviews a second (docs/results.md).
RECIPE = ("imdb", "--preset", "best", *ARTICLE_SPLIT, "--extra", LESSONS.relative_to(ROOT), "--from", LANGUAGE.relative_to(ROOT), "--networks", 2, "--embedding", 24)
NEGATION = re.compile(r"\b(not|cannot|never|hardly)\b|n't\b")  # of the reviews that were edited first, for lessons, 65 % have "not", 55 % "never" and 28 % "hardly" among their new words
WEIGHTS = "int8"
MOST_BYTES = 8_000_000
SURE = " The first read every text. Where they give their label more than that probability, before it is calibrated, they answer alone: so the one beside reads {:.0%} of the held-out reviews, and {:.0%} of the short opinions. By the validation rows this should lose at most {} nats of log-likelihood."


def tenor(*arguments: object) -> dict[str, Any]:
    """A command's JSON; the command is run in the root, so that no path of this machine gets into the model."""
    command = [str(Path(sys.executable).with_name("tenor")), *map(str, arguments), "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout)
    return answer


def held_out(path: Path) -> None:
    """The last 5,000 labelled reviews, the article split's test rows."""
    rows = read_rows(resolve("imdb")).rows[-ARTICLE_SPLIT[-1] :]
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["text", "label"])
        out.writerows((r.text, r.label) for r in rows)


def said(pipeline: Pipeline, texts: list[str]) -> list[str]:
    return [str(a["label"]) for a in Labels(pipeline).answers(texts)]


Sides = tuple[np.ndarray, np.ndarray]  # of each pair: is the original answered rightly, and the edit


def sides(pipeline: Pipeline, rows: list[Pair]) -> Sides:
    original = np.array(said(pipeline, [r.original for r in rows])) == [r.original_label for r in rows]
    return original, np.array(said(pipeline, [r.edited for r in rows])) == [r.edited_label for r in rows]


def linear_sides(data: Data, rows: list[Pair]) -> Sides:
    """The same of the linear baseline, trained on the very rows of the model."""
    texts = [r.original for r in rows] + [r.edited for r in rows]
    targets = match_labels([r.original_label for r in rows] + [r.edited_label for r in rows], data.names, "the pairs")
    right = baseline(data.texts(data.split.train), data.targets[data.split.train], texts, np.array(targets))[1]
    return right[: len(rows)], right[len(rows) :]


def negating() -> np.ndarray:
    """Of each pair of real reviews, whether the new words of its edit have one of those that most lessons put in."""
    return np.array([any(NEGATION.search(new.lower()) for _, new in row["edits"]) for row in json_lines(REVIEW_PAIRS)])


def pairs(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Shares of the originals, of the edits and of the pairs on both sides that are answered rightly, with their intervals: a dict a row of the card."""
    data = prepare(Order("imdb", LESSONS, lambda _rows, _start=None: preset("base", how="range", train_rows=ARTICLE_SPLIT[3], test_rows=ARTICLE_SPLIT[-1]), extra=str(LESSONS)))
    learnt = set(data.texts(data.split.train))
    of_films, revised, hard = of_reviews(), revisions(), written()
    found, read, negated = sides(pipeline, of_films), np.array([clean(p.original) in learnt for p in of_films]), negating()
    everything = np.ones(len(of_films), bool)
    rows = [
        ("film reviews of the data set and their edits", found, everything),
        ("of these: the original was read in training", found, read),
        ("the original was not read (validation rows)", found, ~read),
        ("no not, n't, never or hardly among the new words", found, ~negated),
        ("all of these by a linear model (TF-IDF, SVM) that has read the same rows", linear_sides(data, of_films), everything),
        ("other reviews, more than half of whose words were written anew", sides(pipeline, revised), np.ones(len(revised), bool)),
        ("written from nothing to be hard", sides(pipeline, hard), np.ones(len(hard), bool)),
    ]
    return [{"pairs": name, "rows": int(some.sum())} | _rights("original", a[some]) | _rights("edited", b[some]) | _rights("both", (a & b)[some]) for name, (a, b), some in rows]


def _rights(name: str, right: np.ndarray) -> dict[str, float]:
    low, high = interval(int(right.sum()), len(right))
    return {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}


def asked(pipeline: Pipeline, texts: list[str]) -> float:
    """The share of texts that the network beside reads."""
    own = read_logits(pipeline.network, pipeline.read(pipeline.tokenizer.encode(texts)))
    return len(pipeline.unsure(own)) / len(texts)


def opinions(pipeline: Pipeline) -> dict[str, Any]:
    """Accuracy by kind, worst first, and failures of the three worst kinds."""
    rows = [json.loads(line) for line in open(CASES / "short_opinions.jsonl", encoding="utf-8")]
    right, wrong = defaultdict(list), defaultdict(list)
    for row, got in zip(rows, said(pipeline, [r["text"] for r in rows]), strict=True):
        right[row["kind"]].append(got == row["label"])
        if got != row["label"]:
            wrong[row["kind"]].append((row["text"], got))
    kinds = dict(sorted(((k, float(np.mean(v))) for k, v in right.items()), key=lambda kind: kind[1]))
    return {"kinds": kinds, "failures": [failure for kind in list(kinds)[:3] for failure in wrong[kind][:2]]}


def sample(folder: Path) -> dict[str, Any]:
    start = tenor("train", "sample", "--from", REVIEWS, "--out", folder / "start")
    scratch = tenor("train", "sample", "--no-baseline", "--out", folder / "scratch")
    return {
        "sample_rows": start["data"]["train"], "sample_test": start["test"]["rows"], "sample_start": start["test"]["accuracy"],
        "sample_scratch": scratch["test"]["accuracy"], "sample_linear": start["baseline"]["accuracy"],
    }  # fmt: skip


def card(stored: store.Stored, pipeline: Pipeline, found: dict[str, Any]) -> bytes:
    config, metrics = stored.config, stored.metrics
    assert pipeline.beside
    rows = [("held-out film reviews", found["held_out_metrics"]), ("short opinions by hand", found["opinions"])]
    table = [f"| {name}, {r['rows']:,} | {r['accuracy']:.4f} ({r['accuracy_low']:.3f} to {r['accuracy_high']:.3f}) | {r['f1']:.4f} | {r['calibration_error']:.4f} |" for name, r in rows]
    text = (Path(__file__).parent / "box_card.md").read_text(encoding="utf-8")
    filled = text.format(
        network=described(pipeline),
        weights=f"{sum(w.size for w in stored.weights.values()):,}", kind=config["weights"], megabytes=f"{found['bytes'] / 1e6:.1f}", labels=", ".join(config["labels"]),
        max_tokens=pipeline.text.max_tokens, beside_tokens=pipeline.beside.text.max_tokens, sure=SURE.format(found["asked_held_out"], found["asked_opinions"], MOST_LOST) if pipeline.sure < 1 else "", command=config.get("command", ""), data="\n".join(f"- {s}" for s in metrics["data"]["sentences"]), table="\n".join(table),
        held_out="the last 5,000 rows of the article's split", error_is=ERROR_IS, calibrated=calibrated(None, metrics.get("calibration")), shrunk=shrunk(metrics["shrunk"]),
        kinds="\n".join(f"| {k} | {v:.2f} |" for k, v in found["kinds"].items()), failures="\n".join(f"- {got}: {given}" for given, got in found["failures"]),
        pairs="\n".join(f"| {r['pairs']}, {r['rows']} | {r['original']:.3f} | {r['edited']:.3f} ({r['edited_low']:.3f} to {r['edited_high']:.3f}) | {r['both']:.3f} ({r['both_low']:.3f} to {r['both_high']:.3f}) |" for r in found["pairs"]),
        **{k: v for k, v in found.items() if k.startswith("sample")}, **counts(),
    )  # fmt: skip
    return filled.encode()


def trained(model: Path | None) -> Path:
    """The model that is made small: given, or trained by RECIPE. SystemExit: its card would tell a path of this machine."""
    if model is None:
        pretrained(LANGUAGE, LANGUAGE_SIZES)
        model = ROOT / "runs" / f"{REVIEWS}-large"
        tenor("train", *RECIPE, "--no-baseline", "--overwrite", "--out", model.relative_to(ROOT))
    config = store.read(model).config
    if any(word.startswith("/") for key in ("command", "source", "start") for word in shlex.split(str(config.get(key, "")))):
        raise SystemExit(f"{model} was made with a path of this machine, and its card would tell it. Train it with relative paths.")
    return model


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    which = arguments.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path)
    which.add_argument("--card", action="store_true")
    given = arguments.parse_args()
    target, here = FOLDER / REVIEWS, machine()  # before the card that is written makes the tree another
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "held-out.csv"
        held_out(rows)
        learnt = write_lessons(LESSONS)
        lessons = hash_of("\n".join(str(lesson._asdict()) for lesson in learnt))
        if not given.card:
            shrink(ShrinkOrder(str(trained(given.model)), target, WEIGHTS, str(rows), labels=("negative", "positive"), overwrite=True))
        stored = store.read(target)
        known = json.loads((RESULTS / "box.json").read_text()).get("lessons", lessons) if given.card else lessons
        if stored.metrics["data"].get("extra") != len(learnt) or known != lessons:
            raise SystemExit(f"benchmarks/lessons has {len(learnt):,} lessons, and the model has learnt from {stored.metrics['data'].get('extra', 0):,}, or from others: its card would be wrong. Train it anew.")
        pipeline = Pipeline.rebuilt(stored)
        found: dict[str, Any] = {"lessons": lessons, "held_out_metrics": evaluate(str(rows), pipeline, None, None, None, "classes", False), "bytes": store.size(target)}
        found["opinions"] = evaluate(str(CASES / "short_opinions.jsonl"), pipeline, None, None, None, "classes", False)
        for name, source in (("held_out", rows), ("opinions", CASES / "short_opinions.jsonl")):
            found[f"asked_{name}"] = asked(pipeline, [r.text for r in read_rows(source).rows])
        found |= {"pairs": pairs(pipeline)} | opinions(pipeline) | sample(Path(folder))
    (target / "README.md").write_bytes(card(stored, pipeline, found))
    found["bytes"] = store.size(target)
    if found["bytes"] > MOST_BYTES:
        raise SystemExit(f"{target} has {found['bytes']:,} bytes; {MOST_BYTES:,} are the most that ship.")
    (RESULTS / "box.json").write_text(json.dumps({"made_with": f"python benchmarks/box.py{' --card' if given.card else f' --model {given.model}' if given.model else ''}", "machine": here, **found}, indent=2) + "\n")
    print(json.dumps({k: v for k, v in found.items() if not isinstance(v, (dict, list))}))


if __name__ == "__main__":
    main()
