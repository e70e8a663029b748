"""Reading reviews with a trained model: Tenor's Reader in float32, bfloat16 and 8 bits, 64 reviews side by side and one at a time.

    tenor train imdb --preset base --hidden 128 --embedding 128 --max-tokens 400 --split range --train-rows 39258 --test-rows 5000 --no-baseline --out MODEL
    TENOR_DATA=... python benchmarks/inference.py MODEL [--peer-python PEERS/bin/python]

MODEL is a model folder with one bidirectional LSTM layer. With --peer-python (the interpreter of a venv with onnx, onnxruntime and
safetensors) ONNX Runtime reads the same reviews with the same weights by peers/onnx_lstm.py, in the same run: Tenor's passes, the
peer, Tenor's passes, the peer, and so on.

Counted as there: ids and batches (sorted by length) are made before the clock starts, the clock runs from ids to logits, and one at a
time 600 reviews drawn at random stand for all. The median of all passes counts; one at a time, the better of one thread and all.
Checks before a time counts: the Reader in float32 must give the network's own probabilities, and ONNX Runtime's must be the same.
Accuracy is on the 2,000 rows after those of training in the article's split; a model trained on other rows has read some of them.
Writes benchmarks/results/inference.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels import Others, command
from peers.data import TRAIN_ROWS, labelled, write_ids
from reviews import RESULTS, machine
from tenor import TenorError, load
from tenor.cells import native
from tenor.cells.reader import Reader
from tenor.data.batches import Batch, by_length, pack
from tenor.data.text import Ragged, cut
from tenor.models.classify import TextClassifier, probabilities

PEER = Path(__file__).parent / "peers" / "onnx_lstm.py"
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
LIMIT = 400  # tokens of a review
PASS = 600  # batches of a timed pass at most, as in peers/onnx_lstm.py
SAME = 1e-3  # as far apart as float32 probabilities of the same network may be


@dataclass
class Way:
    """A format, a number of reviews side by side, a number of threads."""

    format: str
    size: int
    threads: int
    reader: Reader
    rates: list[float] = field(default_factory=list)

    def logits(self, network: TextClassifier, batch: Batch) -> Tensor:
        """[B], at the batch's places"""
        ids, sizes = batch.tokens.data, batch.tokens.batch_sizes
        if network.encoder.config.pooling == "max_mean":
            features = self.reader.pooled(ids, sizes)
        else:
            features = torch.cat(tuple(self.reader.last(ids, sizes)), 1)
        logits: Tensor = network.output(features)[:, 0]
        return logits

    def work(self, network: TextClassifier, batches: Sequence[Batch]) -> np.ndarray:
        """One timed pass. -> [all rows] probabilities of the second label, only those of the rows read"""
        torch.set_num_threads(self.threads)
        with torch.inference_mode():
            began = time.perf_counter()
            found = [self.logits(network, batch) for batch in batches]
            seconds = time.perf_counter() - began
        rows = np.concatenate([b.rows for b in batches])
        self.rates.append(len(rows) / seconds)
        share = np.full(int(rows.max()) + 1, np.nan)
        share[rows] = torch.sigmoid(torch.cat(found).double()).numpy()
        return share


def readers(network: TextClassifier) -> dict[str, Reader]:
    """By format; those that this CPU cannot have are left out, and that is said."""
    recurrent, embedding = network.encoder.recurrent, network.encoder.embedding.weight
    if recurrent.num_layers != 1 or not recurrent.bidirectional or recurrent.cell != "lstm" or network.output.out_features != 1:
        raise SystemExit("The model must have one bidirectional LSTM layer and two labels.")
    found = {}
    for name, dtype in FORMATS.items():
        try:
            found[name] = Reader("lstm", embedding, [tuple(w) for w in recurrent.all_weights], dtype)  # type: ignore[misc]
        except TenorError as error:
            print(f"{name}: {error}")
    return found


def apart(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Two precisions' probabilities."""
    far = np.abs(a - b)
    return {"largest_difference": float(far.max()), "mean_difference": float(far.mean()), "labels_changed": int(((a > 0.5) != (b > 0.5)).sum())}


def accuracy(share: np.ndarray, labels: np.ndarray) -> float:
    return round(float(((share > 0.5) == (labels > 0.5)).mean()), 4)


def run_peer(python: Path, folder: Path, weights: Path, threads: int, repeats: int) -> dict[str, Any]:
    """What peers/onnx_lstm.py prints; its logits lie in the folder's `logits`."""
    command = [str(python), str(PEER), str(folder / "reviews.npz"), str(weights), "--threads", str(threads), "--repeats", str(repeats), "--logits", str(folder / "logits")]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return answer


def best(ways: Sequence[Way], name: str, size: int) -> Way:
    """The fastest of a format and number side by side."""
    return max((w for w in ways if w.format == name and w.size == size), key=lambda w: median(w.rates))


def peer_results(runs: Sequence[dict[str, Any]], pooling: str, labels: np.ndarray, folder: Path, ours: np.ndarray) -> dict[str, Any]:
    """ONNX Runtime's rates over all its runs, and its probabilities; ends the program if its float32 is another network's."""
    shares = {}
    for name in ("float32", "int8"):
        logits = np.load(folder / "logits" / f"{pooling}_{name}_64.npy").astype(np.float64)
        shares[name] = 1 / (1 + np.exp(-logits))
    same = apart(shares["float32"], ours)
    if not same["largest_difference"] < SAME:
        raise SystemExit(f"ONNX Runtime's probabilities differ from Tenor's by {same['largest_difference']:.2g}; times mean nothing then.")
    results: dict[str, Any] = {"versions": runs[0]["versions"], "float32_to_tenor": same, "cores_used_by_others": [r["cores_used_by_others"] for r in runs], "results": {}}
    for name, share in shares.items():
        for size in (64, 1):
            found = [r["results"][f"{pooling}_{name}_{size}"] for r in runs]
            rates = [f["reviews_per_second"] for f in found]
            row = {"reviews_per_second": median(rates), "runs": rates, "fastest_way": {k: v for k, v in found[0].items() if k in ("quantised", "sessions", "threads_a_session")}}
            results["results"][f"{name}_{size}"] = row | {"accuracy": accuracy(share, labels)} | ({} if name == "float32" else {"to_float32": apart(share, shares["float32"])})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--peer-python", type=Path, help="interpreter that has onnx, onnxruntime and safetensors")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="how often Tenor and the peer take turns")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes of each way in a round")
    parser.add_argument("--rows", type=int, default=2000, help="reviews to read")
    parser.add_argument("--out", type=Path, default=RESULTS / "inference.json")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    began = time.perf_counter()
    pipeline = load(asked.model, device="cpu", precision="float32").pipeline_
    network = pipeline.network
    found = readers(network)
    texts, labels = labelled()
    chosen = slice(TRAIN_ROWS, TRAIN_ROWS + asked.rows)
    ids, labels = cut(pipeline.tokenizer.encode(texts[chosen]), LIMIT, pipeline.text.keep), labels[chosen]
    work = {size: batched(ids, size) for size in (64, 1)}
    ways = [Way(name, size, t, reader) for size in (64, 1) for name, reader in found.items() for t in sorted({asked.threads, 1 if size == 1 else asked.threads})]

    shares = {}
    for way in ways:  # all rows, to warm up and for the probabilities
        shares[way.format, way.size] = way.work(network, work[way.size])
        way.rates.clear()
    torch.set_num_threads(asked.threads)
    own = apart(shares["float32", 64], probabilities(network, ids)[:, 1])
    if not own["largest_difference"] < SAME:
        raise SystemExit(f"The Reader's probabilities differ from the network's by {own['largest_difference']:.2g}; times mean nothing then.")
    runs: list[dict[str, Any]] = []
    others = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ids(folder / "reviews.npz", ids, labels)
        for _ in range(asked.rounds):
            with Others() as watch:
                for _ in range(asked.repeats):
                    for way in ways:
                        way.work(network, work[way.size][:PASS])
            others.append(watch.cores)
            if asked.peer_python:
                runs.append(run_peer(asked.peer_python, folder, asked.model / "model.safetensors", asked.threads, asked.repeats))
        peer = peer_results(runs, pipeline.model.pooling, labels, folder, shares["float32", 64]) if runs else {}

    results: dict[str, Any] = {}
    print(f"{'format':9}{'side by side':>13}{'reviews/s':>10}{'accuracy':>9}{'largest':>9}{'mean':>9} difference to float32; ONNX Runtime")
    for size in (64, 1):
        for name in found:
            fastest = best(ways, name, size)
            share = shares[name, size]
            row: dict[str, Any] = {"reviews_per_second": round(median(fastest.rates), 1), "best_pass": round(max(fastest.rates), 1), "threads": fastest.threads, "passes": [round(r, 1) for r in fastest.rates]}
            row |= {"accuracy": accuracy(share, labels), "to_float32": apart(share, shares["float32", size])}
            theirs = {k.removesuffix(f"_{size}"): v["reviews_per_second"] for k, v in peer.get("results", {}).items() if k.endswith(f"_{size}")}
            row["ratio_to_onnxruntime"] = {k: round(row["reviews_per_second"] / v, 3) for k, v in theirs.items()}
            results[f"{name}_{size}"] = row
            versus = ", ".join(f"{row['ratio_to_onnxruntime'][k]:.2f} times its {k} ({v:,.0f})" for k, v in theirs.items())
            print(f"{name:9}{size:13}{row['reviews_per_second']:10,.0f}{row['accuracy']:9.4f}{row['to_float32']['largest_difference']:9.5f}{row['to_float32']['mean_difference']:9.6f} {versus}")
    print(f"cores used by others: Tenor's passes {others}, the peer's {peer.get('cores_used_by_others', [])}")
    answer = {
        "made_with": command(),
        "machine": machine() | {"isa": native.isa(), "threads": asked.threads},
        "network": {"vocab": len(pipeline.tokenizer), "embedding": pipeline.model.embedding, "hidden": pipeline.model.hidden, "pooling": pipeline.model.pooling},
        "reviews": {"rows": len(ids), "mean_tokens": round(float(ids.lengths.mean()), 1), "limit": LIMIT},
        "reader_to_network": own,
        "cores_used_by_others": others,
        "results": results,
        "onnxruntime": peer,
        "seconds": {"all": round(time.perf_counter() - began, 1)},
    }
    asked.out.write_text(json.dumps(answer, indent=2) + "\n")


def batched(ids: Ragged, size: int) -> list[Batch]:
    """All rows, sorted by length; the batches in the order that peers/onnx_lstm.py draws."""
    batches = [pack(ids, rows) for rows in by_length(ids.lengths, size)]
    return [batches[i] for i in np.random.default_rng(0).permutation(len(batches))]


if __name__ == "__main__":
    main()
