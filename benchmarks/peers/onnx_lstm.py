"""Inference of a bidirectional LSTM on ragged reviews by ONNX Runtime, float32 and int8. Knows nothing of Tenor.

    python -m venv peers && peers/bin/pip install onnx onnxruntime safetensors
    peers/bin/python benchmarks/peers/onnx_lstm.py reviews.npz weights [--threads 2] [--last] [--logits FOLDER]

`reviews.npz` holds ids [all tokens] int32 and lengths [rows], and may hold labels [rows] (1: positive). `weights` is an .npz
or .safetensors file of torch's names (embedding.weight, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, the same with
_reverse, output.weight, output.bias; whatever stands before these names). An output of 4H columns reads the greatest and the
mean of all states, one of 2H columns the last state of each direction. With --last, weights of the first kind are also timed
as if they were of the second (results named last_..., without an accuracy), which costs less than pooling.

Fair to it: batches are sorted by length and made before the clock starts, only `session.run` is timed, masks are left out
where all rows of a batch have the same length, and the fastest of several ways counts: LSTM alone or everything quantised,
a scale a matrix or a column, one session with all threads or one session a thread (one at a time: all threads or one), and
float32 likewise. Prints one JSON object, results named POOLING_PRECISION_BATCH; with --logits also writes FOLDER/NAME.npy,
[rows] float32 in the order of the file, for each. int8 scales the inputs of a batch together: its logits depend on the batch.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

Array = np.ndarray[Any, Any]
GATES = (0, 3, 1, 2)  # torch keeps i, f, g, o; ONNX i, o, f, g
OPSET = 17
PASS = 600  # batches that are timed at most: one at a time, reviews drawn at random stand for all
QUANTISED: dict[str, dict[str, Any]] = {  # ways to quantise
    "lstm": {"op_types_to_quantize": ["LSTM"]},
    "lstm, a scale a column": {"op_types_to_quantize": ["LSTM"], "per_channel": True},
    "everything": {},
}


# Graph ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    embedding: Array  # [V, I]
    w: Array  # [2, 4H, I]
    r: Array  # [2, 4H, H]
    b: Array  # [2, 8H]
    output: Array  # [F, 1]
    bias: Array  # [1]

    @property
    def hidden(self) -> int:
        return int(self.r.shape[2])

    @property
    def pooling(self) -> str:
        return "max_mean" if self.output.shape[0] == 4 * self.hidden else "last"

    @classmethod
    def read(cls, path: Path) -> Weights:
        """Of torch's names and gate order."""
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            found: dict[str, Array] = load_file(path)
        else:
            found = dict(np.load(path))

        def named(name: str) -> Array:
            fitting = [v for k, v in found.items() if k == name or k.endswith("." + name)]
            if len(fitting) != 1:
                raise SystemExit(f"{path.name} must hold one {name}; it has {', '.join(found)}.")
            return fitting[0].astype(np.float32)

        def gates(name: str) -> Array:
            both = [named(f"{name}_l0"), named(f"{name}_l0_reverse")]
            return np.stack([np.concatenate([np.split(v, 4)[g] for g in GATES]) for v in both])

        bias = np.concatenate([gates("bias_ih"), gates("bias_hh")], 1)
        return cls(named("embedding.weight"), gates("weight_ih"), gates("weight_hh"), bias, named("output.weight").T.copy(), named("output.bias"))

    def last(self) -> Weights:
        """The same, reading last states only."""
        return Weights(self.embedding, self.w, self.r, self.b, self.output[: 2 * self.hidden], self.bias)


def graph(weights: Weights, masked: bool) -> onnx.ModelProto:
    """tokens [T, B] int32 and lengths [B] int32 -> logit [B, 1].

    Args:
        weights: of the network.
        masked: rows are of unequal length, and `padding` [T, 1, B, 1] is -2 where a row has ended, else 0. The states
            that ONNX's LSTM gives there are 0, which the mean never notices and the maximum would.
    """
    hidden = weights.hidden
    constants: dict[str, Array] = {
        "embedding": weights.embedding, "w": weights.w, "r": weights.r, "b": weights.b, "dense": weights.output, "bias": weights.bias,
        "time": np.array([0]), "flat": np.array([0, -1]), "column": np.array([-1, 1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["x"]),  # [T, B, I]
        helper.make_node("LSTM", ["x", "w", "r", "b", "lengths"], ["states", "finals"], direction="bidirectional", hidden_size=hidden),
    ]
    inputs: list[tuple[str, int, list[str | int]]] = [("tokens", TensorProto.INT32, ["T", "B"]), ("lengths", TensorProto.INT32, ["B"])]
    if weights.pooling == "last":
        nodes.append(helper.make_node("Transpose", ["finals"], ["by_row"], perm=[1, 0, 2]))  # [B, 2, H]
        nodes.append(helper.make_node("Reshape", ["by_row", "flat"], ["features"]))
    else:
        if masked:
            inputs.append(("padding", TensorProto.FLOAT, ["T", 1, "B", 1]))
            nodes.append(helper.make_node("Add", ["states", "padding"], ["live"]))
        nodes += [
            helper.make_node("ReduceMax", ["live" if masked else "states"], ["most"], axes=[0], keepdims=0),  # [2, B, H]
            helper.make_node("ReduceSum", ["states", "time"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["lengths"], ["real_lengths"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["real_lengths", "column"], ["divisor"]),
            helper.make_node("Div", ["sum", "divisor"], ["mean"]),
            helper.make_node("Concat", ["most", "mean"], ["both"], axis=0),  # [4, B, H]
            helper.make_node("Transpose", ["both"], ["by_row"], perm=[1, 0, 2]),
            helper.make_node("Reshape", ["by_row", "flat"], ["features"]),
        ]
    nodes.append(helper.make_node("Gemm", ["features", "dense", "bias"], ["logit"]))
    made = helper.make_graph(
        nodes,
        "reviews",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["B", 1])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


class Model:
    """Sessions for batches with and without padding."""

    def __init__(self, weights: Weights, threads: int, quantised: dict[str, Any] | None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.sessions = {}
        with tempfile.TemporaryDirectory() as folder:
            for masked in (False, True) if weights.pooling == "max_mean" else (False,):
                source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
                onnx.save(graph(weights, masked), source)
                if quantised is not None:
                    quantize_dynamic(source, target, weight_type=QuantType.QInt8, **quantised)
                    kinds = {n.op_type for n in onnx.load(target).graph.node}
                    if "DynamicQuantizeLSTM" not in kinds:
                        raise SystemExit(f"The LSTM was not quantised: {', '.join(sorted(kinds))}.")
                path = source if quantised is None else target
                self.sessions[masked] = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.masks = weights.pooling == "max_mean"

    def run(self, batch: Batch) -> Array:
        session = self.sessions[self.masks and "padding" in batch.feed]
        feed = batch.feed if self.masks else {k: v for k, v in batch.feed.items() if k != "padding"}
        logits: Array = session.run(None, feed)[0][:, 0]
        return logits


# Measuring -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    rows: Array
    feed: dict[str, Array]


def batches(ids: Array, lengths: Array, order: Array, size: int) -> list[Batch]:
    """All rows in this order, `size` side by side."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    made = []
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        tokens = np.zeros((int(lengths[chosen].max()), len(chosen)), np.int32)
        for place, row in enumerate(chosen):
            tokens[: lengths[row], place] = ids[starts[row] : starts[row + 1]]
        feed = {"tokens": tokens, "lengths": lengths[chosen].astype(np.int32)}
        ended = np.arange(len(tokens))[:, None] >= lengths[chosen][None]
        if ended.any():
            feed["padding"] = (ended * np.float32(-2))[:, None, :, None].astype(np.float32)
        made.append(Batch(chosen, feed))
    return made


def shuffled(work: Sequence[Batch]) -> list[Batch]:
    return [work[i] for i in np.random.default_rng(0).permutation(len(work))]


@dataclass
class Way:
    """One way to run a precision: models with a share of the threads each, and what came of it."""

    about: dict[str, Any]
    models: list[Model]
    logits: Array  # [rows]
    rates: list[float] = field(default_factory=list)

    def work(self, work: Sequence[Batch]) -> None:
        """All batches once, the models side by side."""

        def one(place: int) -> None:
            for batch in work[place :: len(self.models)]:
                self.logits[batch.rows] = self.models[place].run(batch)

        with ThreadPoolExecutor(len(self.models)) as pool:
            began = time.perf_counter()
            list(pool.map(one, range(len(self.models))))
            self.rates.append(sum(len(b.rows) for b in work) / (time.perf_counter() - began))

    def result(self) -> dict[str, Any]:
        """The first pass was to warm up."""
        return {"reviews_per_second": round(median(self.rates[1:]), 1), "best_pass": round(max(self.rates[1:]), 1), **self.about}


def measure(weights: Weights, work: dict[int, list[Batch]], labels: Array | None, threads: int, repeats: int, folder: Path | None) -> dict[str, Any]:
    """All reviews to warm up and for the logits, then passes of at most PASS batches, every way in turn."""
    results: dict[str, Any] = {}
    for size, batched in work.items():
        ways: dict[str, list[Way]] = {"float32": [], "int8": []}
        # One at a time, a session with one thread may be the faster; side by side would not be one at a time.
        shares = sorted({(1, threads), (threads, 1)} if size > 1 else {(1, threads), (1, 1)})
        for about, options in [({}, None), *(({"quantised": k}, v) for k, v in QUANTISED.items())]:
            for sessions, each in shares:
                models = [Model(weights, each, options) for _ in range(sessions)]
                share = {"sessions": sessions, "threads_a_session": each}
                logits = np.empty(sum(len(b.rows) for b in batched), np.float32)
                ways["float32" if options is None else "int8"].append(Way(about | share, models, logits))
        for turn in range(1 + repeats):
            for way in chain(*ways.values()):
                way.work(batched if turn == 0 else batched[:PASS])
                time.sleep(0.05)  # threads of a session wait actively for a while
        for precision, tried in ways.items():
            best = max(tried, key=lambda w: median(w.rates[1:]))
            name = f"{weights.pooling}_{precision}_{size}"
            timed = np.concatenate([b.rows for b in batched[:PASS]])
            lengths = np.concatenate([b.feed["lengths"] for b in batched[:PASS]])
            results[name] = best.result() | {"rows_a_pass": len(timed), "mean_tokens": round(float(lengths.mean()), 1)}
            if labels is not None:
                results[name]["accuracy"] = round(float(((best.logits > 0) == (labels > 0.5)).mean()), 4)
            results[name]["tried"] = [w.result() for w in tried]
            if folder is not None:
                np.save(folder / f"{name}.npy", best.logits)
    return results


def used() -> tuple[float, float]:
    """Seconds of all cores used by everything since the machine's start, and by this process."""
    path = Path("/proc/stat")
    ticks = [int(t) for t in path.read_text().split("\n", 1)[0].split()[1:9]] if path.exists() else [0] * 8
    own = os.times()
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), own.user + own.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reviews", type=Path, help=".npz: ids, lengths, perhaps labels")
    parser.add_argument("weights", type=Path, help=".npz or .safetensors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="timed passes, of which the median counts")
    parser.add_argument("--last", action="store_true", help="time weights that pool as if they read the last state, too")
    parser.add_argument("--logits", type=Path, help="folder for each result's logits")
    asked = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser repeats its advice
    data: dict[str, Array] = dict(np.load(asked.reviews))
    weights = Weights.read(asked.weights)
    order = np.argsort(-data["lengths"], kind="stable")
    work = {size: shuffled(batches(data["ids"], data["lengths"], order, size)) for size in (64, 1)}
    if asked.logits:
        asked.logits.mkdir(parents=True, exist_ok=True)
    began, before = time.perf_counter(), used()
    results = measure(weights, work, data.get("labels"), asked.threads, asked.repeats, asked.logits)
    if asked.last and weights.pooling != "last":
        results |= measure(weights.last(), work, None, asked.threads, asked.repeats, asked.logits)
    after, seconds = used(), time.perf_counter() - began
    slots = sum(b.feed["tokens"].size for b in work[64])
    answer = {
        "versions": {"onnxruntime": ort.__version__, "onnx": onnx.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "network": {
            "vocab": len(weights.embedding),
            "embedding": weights.embedding.shape[1],
            "hidden": weights.hidden,
            "pooling": weights.pooling,
        },
        "threads": asked.threads,
        "rows": len(order),
        "mean_tokens": round(float(data["lengths"].mean()), 1),
        "padding_share_64": round(1 - int(data["lengths"].sum()) / slots, 4),
        "cores_used_by_others": round(max(0.0, (after[0] - before[0]) - (after[1] - before[1])) / seconds, 2),
        "results": results,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
