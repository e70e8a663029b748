"""What several tests need: a small labelled table, a model trained on it, and the command line in a process of its own."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import settings

if "TENOR_TEST_ENGINE" in os.environ:  # another build of the engine: sanitized, or with a mistake (tests/test_engine_builds.py)
    spec = importlib.util.spec_from_file_location("tenor.cells._engine", os.environ["TENOR_TEST_ENGINE"])
    assert spec is not None and spec.loader is not None
    sys.modules["tenor.cells._engine"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["tenor.cells._engine"])

import commands
from tenor.pipelines.classification import Pipeline
from tenor.training import fit as fitting
from tenor.training.events import Events
from tenor.training.loop import Outcome
from tenor.training.presets import Preset, preset
from tenor.training.texts import Labelled, Tokenised

torch.set_num_threads(2)
settings.register_profile("no deadline", deadline=None)  # how long an example takes hangs on what else the machine does
settings.load_profile("no deadline")

needs_reviews = pytest.mark.skipif(
    not os.environ.get("TENOR_DATA") or not (Path(os.environ["TENOR_DATA"]) / "imdb.parquet").exists(), reason="TENOR_DATA names no folder with imdb.parquet"
)


@pytest.fixture
def module_of_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of benchmarks/, by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module


class StopAfter(Events):
    """Asks a training to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, _: object) -> None:
        self.left -= 1

    def stop(self) -> bool:
        return self.left <= 0


@pytest.fixture(scope="module")
def one_thread():
    """For networks so small that two threads, on a busy machine, wait for each other: a training of half a second took 37."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


_FILLER = ["the", "a", "of", "room", "food", "app", "book", "it", "was", "and", "very", "so", "then", "there"]


def order_texts(rows: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts whose label is which of two words comes first, far apart: no bag of words or word pairs can tell."""
    rng = random.Random(seed)
    texts, labels = [], []
    for _ in range(rows):
        words = rng.choices(_FILLER, k=rng.randint(8, 14))
        label = rng.randint(0, 1)
        first, second = sorted(rng.sample(range(len(words) + 2), 2))
        second += second - first < 3
        words.insert(first, ("early", "late")[label])
        words.insert(second, ("late", "early")[label])
        texts.append(" ".join(words))
        labels.append(label)
    return texts, np.array(labels, np.int64)


def small(**changes: object) -> Preset:
    """The base preset, made small enough to train in seconds."""
    settings = {"hidden": 16, "embedding": 16, "epochs": 2, "batch_size": 16, "word_dropout": 0.0, "precision": "float32", "vectors": False, "embedding_rate": 1.0}
    return preset("base", **(settings | changes))


def fit(
    labels: list[str], texts: list[str], targets: np.ndarray, others: list[str], other_targets: np.ndarray, preset: Preset, events: Events | None = None, work: Path | None = None
) -> tuple[Pipeline, Outcome]:
    """Texts straight to a classifier; the others are the validation rows."""
    return fitting.fit(Labelled(labels, texts, Tokenised.of(texts, preset.text), targets, others, other_targets), preset, events, work)


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """Two labels, float32, knows the words of order_texts."""
    texts, targets = order_texts(200, 1)
    return fit(["neg", "pos"], texts, targets, texts[:20], targets[:20], small(max_tokens=30))[0]


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 300 rows, text and label."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    texts, targets = order_texts(300, 2)
    with open(path, "w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["review", "sentiment"])
        rows.writerows((t, ("negative", "positive")[y]) for t, y in zip(texts, targets, strict=True))
    return path


class Result:
    """Exit code and output of a command."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.out)


@pytest.fixture
def tenor(tmp_path: Path) -> Callable[..., Result]:
    """Run a command in a process of its own, in an empty folder."""

    def run(*arguments: object, stdin: str = "") -> Result:
        environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
        return Result(commands.run(arguments, tmp_path, stdin, environment))

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """A model folder that the command line wrote."""
    folder = tmp_path_factory.mktemp("models") / "model"
    commands.run(["train", reviews, "--out", folder, "--hidden", "8", "--embedding", "8", "--epochs", "2"], folder.parent).check_returncode()
    return folder
