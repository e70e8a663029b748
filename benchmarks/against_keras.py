"""A training step of the article's network: Tenor's model, loss and optimiser against Keras 3 on TensorFlow.

    TENOR_DATA=... python benchmarks/against_keras.py [--peer-python PEERS/bin/python]

The network of `--preset article`: Embedding(10,000, 64), Bidirectional(LSTM(64)), one sigmoid; Adam, binary cross entropy, 32 reviews
a step. Tenor's step is the training loop's own, in float32 and bfloat16, on the same reviews in two forms:
    padded   200 tokens a review with <pad> in front, as Keras sees them: the same tokens, the same work
    packed   each review's own tokens: the same reviews, and what Tenor does for a user who asks for no padding
With --peer-python (the interpreter of a venv with tensorflow and keras) Keras takes the same steps by peers/keras_step.py, in the same
run: Tenor's steps, Keras, Tenor's steps, and so on. Its first turn tries every way to call Keras, the others the two fastest ways.

Batches are made before the clock starts; the median of all steps counts, 5 to warm up left out. Both must begin at the loss of a coin,
ln 2, and not run away from it. Writes benchmarks/results/keras.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from kernels import Others, command
from peers.data import labelled, write_article
from reviews import RESULTS, machine
from tenor.cells import native
from tenor.data.batches import Batch, pack
from tenor.data.text import PAD, Ragged
from tenor.models.classify import TextClassifier
from tenor.training.events import State
from tenor.training.loop import _step
from tenor.training.optimiser import make_optimiser
from tenor.training.presets import ARTICLE

PEER = Path(__file__).parent / "peers" / "keras_step.py"
WARM_UP = 5
SIZE = ARTICLE.train.batch_size
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def unpadded(tokens: np.ndarray) -> Ragged:
    """[rows, length] with <pad> in front -> the rows without it."""
    live = tokens != PAD
    return Ragged(tokens[live], np.concatenate([[0], np.cumsum(live.sum(1))]))


class Training:
    """A network and its optimiser, and the loop's steps with them."""

    def __init__(self, dtype: torch.dtype) -> None:
        torch.manual_seed(ARTICLE.train.seed)
        self.network = TextClassifier(ARTICLE.text.vocab, 2, ARTICLE.model, dtype)
        self.optimiser = make_optimiser(self.network, ARTICLE.train)
        self.state = State()
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def steps(self, batches: list[Batch], targets: torch.Tensor, number: int) -> None:
        """Some steps to warm up, then timed ones; the batches in turn."""
        for i in range(WARM_UP + number):
            before, batch = self.state.loss, batches[self.state.step % len(batches)]
            began = time.perf_counter()
            _step(self.network, self.optimiser, (batch, targets), self.state, len(batches), ARTICLE.train)
            if i >= WARM_UP:
                self.seconds.append(time.perf_counter() - began)
            self.losses.append((self.state.loss - before) / len(batch.rows))

    def result(self, tokens: float) -> dict[str, Any]:
        """tokens: of a step, mean."""
        seconds = median(self.seconds)
        return {
            "seconds_per_step": round(seconds, 6), "best_step": round(min(self.seconds), 6), "steps": len(self.seconds), "tokens_a_step": round(tokens, 1),
            "tokens_per_second": round(tokens / seconds), "losses": [round(x, 6) for x in self.losses[:5]], "last_loss": round(self.losses[-1], 6), "kernel": self.network.path,
        }  # fmt: skip


def check(name: str, losses: list[float], last: float) -> None:
    """Ends the program if this is not the training of that network."""
    if not abs(losses[0] - math.log(2)) < 0.03 or not last < 0.8:
        raise SystemExit(f"{name} began at a loss of {losses[0]:.3f} and ended at {last:.3f}; times mean nothing then.")


def run_peer(python: Path, data: Path, threads: int, steps: int, ways: list[str]) -> dict[str, Any]:
    """What peers/keras_step.py prints. ways: empty: all"""
    command = [str(python), str(PEER), str(data), "--threads", str(threads), "--steps", str(steps), *(["--ways", *ways] if ways else [])]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return answer


def keras_result(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest way of all turns: the least median over the turns that tried it."""
    seconds: dict[str, list[float]] = {}
    for run in runs:
        check(f"Keras, {run['best']},", run["losses"], run["last_loss"])
        for way, found in run["tried"].items():
            if "failed" not in found:
                seconds.setdefault(way, []).append(found["seconds_per_step"])
    medians = {way: median(s) for way, s in seconds.items()}
    best = min(medians, key=lambda way: medians[way])
    about = {k: runs[0][k] for k in ("versions", "network", "tokens_a_step", "real_tokens_share")}
    return {"best": best, "seconds_per_step": round(medians[best], 6), "cores_used_by_others": [r["cores_used_by_others"] for r in runs], **about, "turns": [r["tried"] for r in runs]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, help="interpreter that has tensorflow and keras")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="how often Tenor and Keras take turns")
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each way in a round")
    parser.add_argument("--ways", nargs="+", default=[], metavar="WAY", help="ways of peers/keras_step.py to try in the first turn; all if not given")
    parser.add_argument("--out", type=Path, default=RESULTS / "keras.json")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    began = time.perf_counter()
    runs: list[dict[str, Any]] = []
    others = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "article.npz"
        write_article(data, *labelled())
        found = np.load(data)
        tokens, targets = found["tokens"], torch.from_numpy(found["labels"]).long()
        ids, length = unpadded(tokens), tokens.shape[1]
        rows = [np.arange(i, i + SIZE) for i in range(0, len(tokens) - SIZE + 1, SIZE)]  # in the order of the file, as peers/keras_step.py
        forms = {"padded": [pack(ids, r, pad_to=length) for r in rows], "packed": [pack(ids, r) for r in rows]}
        trainings = {(name, form): Training(dtype) for name, dtype in DTYPES.items() for form in forms}
        ways = asked.ways
        for _ in range(asked.rounds):
            with Others() as watch:
                for (_name, form), training in trainings.items():
                    training.steps(forms[form], targets, asked.steps)
            others.append(watch.cores)
            if asked.peer_python:
                runs.append(run_peer(asked.peer_python, data, asked.threads, asked.steps, ways))
                if len(runs) == 1:
                    tried = {way: t["seconds_per_step"] for way, t in runs[0]["tried"].items() if "failed" not in t}
                    ways = sorted(tried, key=lambda way: tried[way])[:2]
    keras = keras_result(runs) if runs else {}
    real = len(rows[0]) * float(ids.lengths[: len(rows) * SIZE].mean())
    results: dict[str, Any] = {}
    for (name, form), training in trainings.items():
        result = training.result(SIZE * length if form == "padded" else real)
        check(f"Tenor, {name}, {form},", training.losses, training.losses[-1])
        if keras:
            result["ratio_to_keras"] = round(keras["seconds_per_step"] / result["seconds_per_step"], 3)
        results[f"{name}_{form}"] = result
        same = "the same padded tokens" if form == "padded" else "the same reviews"
        versus = f"; {result['ratio_to_keras']:.2f} times Keras on {same} ({keras['best']}: {1e3 * keras['seconds_per_step']:.1f} ms)" if keras else ""
        print(f"{name} {form}: {1e3 * result['seconds_per_step']:.1f} ms a step, {result['tokens_per_second']:,} tokens/s{versus}")
    print(f"cores used by others: Tenor's turns {others}, Keras' {keras.get('cores_used_by_others', [])}")
    answer = {
        "made_with": command(),
        "machine": machine() | {"isa": native.isa(), "threads": asked.threads},
        "cores_used_by_others": others,
        "tenor": results,
        "keras": keras,
        "seconds": {"all": round(time.perf_counter() - began, 1)},
    }
    asked.out.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
