"""Tenor's kernels against torch's own: real tokens a second, forward and backward of one bidirectional layer (input size = hidden size).

    TENOR_DATA=... python benchmarks/kernels.py                                  everything, 10 to 12 minutes on 2 cores
    TENOR_DATA=... python benchmarks/kernels.py --only lstm --hidden 64 128      some of it; --parts names parts, --quick for a first look
    TENOR_DATA=... python benchmarks/kernels.py --isa avx2                       Tenor and torch on lesser instructions, 6 to 10 minutes; or portable

Lengths are those of real film reviews: validation rows (out of the training rows of the article's split), cut at 400 tokens, in the
batches that the training loop makes. A row of the table runs some of them, longer and shorter ones, the same for all; the larger
the layer, the fewer and the shorter. All results are `real` tokens: padding counts for nothing.

Contenders, all with the same weights, inputs and cotangents, all giving the gradients of inputs and weights:
    native           Tenor's layer on its engine
    tenor on torch   Tenor's layer on torch's kernels (via_torch.run): each direction padded at its end, exact
    padded           torch.nn on the padded batch, padded before the clock starts; for bfloat16 with weights in bfloat16
    padded, autocast the same with float32 weights under torch.autocast (bfloat16 only)
    padded, float32  instead of that one, where oneDNN has no bfloat16: torch's crawls there, and its best way is float32
    padded, steps    the padded batch a step at a time, without oneDNN's fused LSTM (LSTM in float32 only: without oneDNN bfloat16 products
                     crawl, and the other cells have no fused kernel)
    packed           torch.nn on the PackedSequence, exact; for bfloat16 with weights in bfloat16 (autocast leaves it in float32)
Generous to torch: the padded ones start their second direction in the padding, so they compute something else there and save
the moves that would set it right, and they count all the same; the fastest contender but `native` is `torch's best`.

All contenders run in turn, repeat by repeat, three to five times each, each time after a pass over the last batch that is not timed; the median counts. Who was twice as slow as the fastest of
torch's on the shortest batch gets two repeats, who was 20 times slower or took 10 s one. Before a row's clock starts, native's outputs and
gradients must equal those of torch.nn in float32 on packed rows, on a third of the shortest batch's lengths. `gflops` counts the products of
real tokens; `share` is that of the matrix rate: the highest that torch's products reached in the whole run, one for each format (MatrixRate).

Then few reviews of 100 tokens at a time (forward and backward, and forward alone as in reading); one thread against all; and cost against length (each row
1, 2, 4 and 8 times as long). Writes benchmarks/results/kernels.json (--isa: kernels_ISA.json), unless only some of it ran and no --out says where.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from peers.data import TRAIN_ROWS, labelled
from reviews import RESULTS, machine
from tenor.cells import GRU, LSTM, RNN, native
from tenor.config import TextConfig
from tenor.data.batches import POOL, shuffled
from tenor.data.splits import validation_split
from tenor.training.texts import Tokenised

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
OURS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
TORCHS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
ROWS_A_BATCH = {64: 32, 128: 64, 256: 64, 512: 64, 1024: 64}  # by hidden size
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LIMIT = 400  # tokens of a review
SHORT = 48  # tokens of the shortest batch
WORK = 4e10  # floating-point operations of a pass, about: 0.4 s at 100 GFLOP/s
REPEATS = 5
ROW_SECONDS = 4.0  # after so many a row ends, if it has three repeats
APART = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # as far as native may be from torch.nn in float32, as a share of the norm
SHAPES = ((2048, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 4096))  # of products for the matrix rate
READ_EVERY = 6  # rows of the table between two readings of the matrix rate
FEW_SIZES = (128, 256, 512, 1024)  # hidden sizes for few reviews at a time
FEW = {"lstm": (1, 4, 16), "gru": (1,), "rnn": (1,)}  # reviews; torch comes near with the LSTM alone, its fused kernel
FEW_TOKENS = 100  # of each of these reviews, about
FEW_SECONDS = (1.0, 0.005)  # ROW_SECONDS of these rows; what a reading of native takes, at least
ISA_ROWS_A_BATCH = dict.fromkeys((64, 128, 256, 512), 32)
ISA_WORK = 1e10
ISAS = {  # what holds Tenor and torch's libraries to an instruction set, as far as they have it
    "avx2": {"TENOR_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    # MKL heeds MKL_ENABLE_INSTRUCTIONS on Intel's CPUs alone; on others MKL_CBWR=COMPATIBLE (SSE2) is the one branch below its best.
    "portable": {"TENOR_ISA": "portable", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE"},
}
MB = 1 << 20


# Batches -------------------------------------------------------------------------------------------------------------


def review_lengths() -> np.ndarray:
    """[rows] tokens of validation rows, as many as the training loop sorts together at 64 a batch."""
    texts, labels = labelled()
    _, rows = validation_split(labels, np.arange(TRAIN_ROWS), POOL * 64, seed=0)
    ids = Tokenised.of([texts[row] for row in rows], TextConfig(max_tokens=LIMIT)).ids  # lengths do not depend on the vocabulary
    lengths: np.ndarray = np.clip(ids.lengths, 1, LIMIT)
    return lengths


def choose(lengths: np.ndarray, size: int, tokens: float) -> list[np.ndarray]:
    """Lengths of some of the loop's batches, shortest batch first: three of about half, once and one and a half times a length so that
    they have about so many tokens in all; one short batch where three would be too much."""
    batches = [lengths[rows] for rows in shuffled(lengths, size, seed=0, epoch=0)]
    middle = min(float(lengths.mean()), tokens / (3 * size))
    wanted = [middle / 2, middle, 1.5 * middle] if middle >= 2 * SHORT else [max(SHORT, tokens / size)]
    return [min(batches, key=lambda b: abs(float(b.mean()) - w)) for w in wanted]


class Batch:
    """Random inputs and cotangents for rows of these lengths (descending), in every form that a contender takes.

    Forms: "packed" [N, F]; "padded" [T, B, F].
    """

    def __init__(self, lengths: np.ndarray, size: int, hidden: int) -> None:
        self.tokens, self.slots = int(lengths.sum()), len(lengths) * int(lengths[0])
        live = torch.arange(int(lengths[0]))[:, None] < torch.from_numpy(lengths)  # [T, B]
        self.sizes = live.sum(1)  # [T]
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(*live.shape, size, generator=draw)
        d_out = torch.randn(*live.shape, 2 * hidden, generator=draw) * live[:, :, None]
        self._wide = {(what, form): t for what, whole in (("x", x), ("d_out", d_out)) for form, t in (("packed", whole[live]), ("padded", whole))}
        self._made: dict[tuple[str, str, torch.dtype], Tensor] = {}

    def get(self, what: str, form: str, dtype: torch.dtype) -> Tensor:
        """x or d_out, made when first asked for."""
        key = (what, form, dtype)
        if key not in self._made:
            self._made[key] = self._wide[what, form].to(dtype, copy=True).requires_grad_(what == "x")
        return self._made[key]


# Contenders ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    name: str
    layer: nn.Module
    form: str  # of Batch
    kernel: str = "auto"  # TENOR_KERNEL for Tenor's layers
    autocast: bool = False
    onednn: bool = True

    def run(self, batch: Batch, backward: bool = True) -> list[Tensor]:
        """-> outputs, and the gradients of the input and of each weight; without `backward` outputs alone, as in reading"""
        x = batch.get("x", self.form, next(self.layer.parameters()).dtype)
        self.layer.train(backward)
        os.environ["TENOR_KERNEL"] = self.kernel
        torch._C._set_mkldnn_enabled(self.onednn)  # what torch.backends.mkldnn.flags does, without its warning
        with torch.set_grad_enabled(backward), torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            out = self.layer(x if self.form == "padded" else PackedSequence(x, batch.sizes))[0]
        out = out.data if isinstance(out, PackedSequence) else out
        gradients = torch.autograd.grad(out, [x, *self.layer.parameters()], batch.get("d_out", self.form, out.dtype)) if backward else ()
        torch._C._set_mkldnn_enabled(True)
        return [out.detach(), *gradients]

    def seconds(self, batches: Iterable[Batch], backward: bool = True) -> float:
        batches = list(batches)
        time.sleep(0.02)  # threads of the one before wait actively for a while
        for batch in batches[-1:]:
            self.run(batch, backward)  # and as in a training, the same layer ran just before
        began = time.perf_counter()
        for batch in batches:
            self.run(batch, backward)
        return time.perf_counter() - began


def native_layer(cell: str, hidden: int, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    layer: nn.Module = OURS[cell](hidden, hidden, bidirectional=True, compute=dtype)
    return layer


def contenders(cell: str, hidden: int, dtype: torch.dtype) -> list[Contender]:
    """Native first, then torch's; the head of this file says what they are."""
    ours = native_layer(cell, hidden, dtype)
    wide = TORCHS[cell](hidden, hidden, bidirectional=True)
    wide.load_state_dict(ours.state_dict())
    same = TORCHS[cell](hidden, hidden, bidirectional=True, dtype=dtype)
    same.load_state_dict(ours.state_dict())
    found = [
        Contender("native", ours, "packed", kernel="native"),
        Contender("tenor on torch", ours, "packed", kernel="torch"),
        Contender("padded", same, "padded"),
    ]
    if dtype == torch.bfloat16:
        has = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        found.append(Contender("padded, autocast", wide, "padded", autocast=True) if has else Contender("padded, float32", wide, "padded"))
    elif cell == "lstm":
        found.append(Contender("padded, steps", same, "padded", onednn=False))
    return [*found, Contender("packed", same, "packed")]


def difference(cell: str, hidden: int, dtype: torch.dtype, batch: Batch) -> float:
    """How far native's outputs and gradients are from torch.nn's in float32 on packed rows: the greatest norm of a difference, as a
    share of the norm. Ends the program if that is too much."""
    wide = contenders(cell, hidden, torch.float32)[-1]
    found = contenders(cell, hidden, dtype)[0].run(batch)
    far = max(float((a - b).norm() / b.norm()) for a, b in zip(found, wide.run(batch), strict=True))
    if not far < APART[dtype]:
        raise SystemExit(f"native {cell} {hidden} {dtype} differs from torch.nn by {far:.2g} of the norm; times mean nothing then.")
    return far


def command() -> str:
    """How this program was called, without the folders of this machine."""
    return " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *(Path(a).name if os.sep in a else a for a in sys.argv[1:])])


# Measuring -----------------------------------------------------------------------------------------------------------


class Others:
    """How many cores the machine's other programs used while the `with` lasted (0 where there is no /proc/stat)."""

    cores = 0.0

    def __enter__(self) -> Others:
        self._began, self._before = time.perf_counter(), self._used()
        return self

    def __exit__(self, *_: object) -> None:
        seconds, after = time.perf_counter() - self._began, self._used()
        self.cores = round(max(0.0, (after[0] - self._before[0]) - (after[1] - self._before[1])) / seconds, 2)

    @staticmethod
    def _used() -> tuple[float, float]:
        """Seconds of all cores used by everything since the machine's start, and by this program with those that it started and that have ended."""
        path = Path("/proc/stat")
        ticks = [int(t) for t in path.read_text().split("\n", 1)[0].split()[1:9]] if path.exists() else [0] * 8
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def measure(tried: Sequence[Contender], batches: Sequence[Batch], repeats: int, row_seconds: float = ROW_SECONDS, backward: bool = True) -> dict[str, list[float]]:
    """Seconds of each pass over the batches, by contender (native first), the warm-up left out."""
    first: dict[str, float] = {}
    for contender in tried:
        first[contender.name] = contender.seconds(batches[:1], backward)
        if first[contender.name] < 0.5:  # what is made once (threads, oneDNN's code for these shapes) would count
            first[contender.name] = contender.seconds(batches[:1], backward)
    fastest = min(first[c.name] for c in tried[1:])
    often, twice, once = set(range(repeats)), {0, min(2, repeats - 1)}, {0}
    turns = {name: often if s <= 2 * fastest else twice if s <= min(20 * fastest, 10) else once for name, s in first.items()} | {tried[0].name: often}
    for contender in tried:
        if turns[contender.name] != once:
            contender.seconds([b for b in batches if b is not batches[0]], backward)
    times: dict[str, list[float]] = {c.name: [] for c in tried}
    began = time.perf_counter()
    for turn in range(repeats):
        if turn >= 3 and time.perf_counter() - began > row_seconds:
            break
        for contender in tried:
            if turn in turns[contender.name]:
                times[contender.name].append(contender.seconds(batches, backward))
    return times


class MatrixRate:
    """GFLOP/s of torch's products in a format: read from time to time, since the machine's speed wanders; the highest reading is the rate.

    A reading is the fastest of three calls, over shapes and both ways: torch.mm, and F.linear, whose weight is transposed.
    """

    def __init__(self) -> None:
        self._readings: dict[str, list[tuple[float, str]]] = {name: [] for name in DTYPES}

    def read(self) -> None:
        for name, dtype in DTYPES.items():
            self._readings[name].append(max(self._reading(way, dtype) for way in ("mm", "linear")))

    def of(self, name: str) -> float:
        """The format's rate; where bfloat16 crawls, float32's, in which it can be multiplied too."""
        return max(r for n in {name, "float32"} for r, _ in self._readings[n])

    def answer(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"gflops": round(max(found)[0], 1), "way": max(found)[1], "lowest": round(min(found)[0], 1), "median": round(median(r for r, _ in found), 1), "readings": [round(r, 1) for r, _ in found]}
            for name, found in self._readings.items()
        }

    @staticmethod
    def _reading(way: str, dtype: torch.dtype) -> tuple[float, str]:
        """-> rate, and what had it"""
        best, call = (0.0, ""), 0.0
        for m, k, n in SHAPES:
            a, b, out = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype), torch.empty(m, n, dtype=dtype)
            weight = b.t().contiguous()
            for _ in range(3):
                if call > 0.5:  # a product that crawls, as bfloat16 does where the CPU has none; larger ones crawl too
                    return best
                began = time.perf_counter()
                if way == "mm":
                    torch.mm(a, b, out=out)
                else:
                    F.linear(a, weight)
                call = time.perf_counter() - began
                best = max(best, (2e-9 * m * k * n / call, f"{way} {m}x{k}x{n}"))
        return best


def operations(cell: str, hidden: int) -> float:
    """Of a token, forward and backward, both directions: the products alone."""
    return 3 * 2 * 2 * GATES[cell] * hidden * (hidden + hidden)


def table(cells: Sequence[str], rows_a_batch: dict[int, int], lengths: np.ndarray, repeats: int, work: float, matrix: MatrixRate) -> list[dict[str, Any]]:
    """Every cell, size and format: native and torch's. Without the shares, which need all readings of the matrix rate."""
    rows: list[dict[str, Any]] = []
    print(f"{'cell':5}{'hidden':>7}{'batch':>6} {'format':9}{'native':>9}{'torch':>9}  {'by':17}{'ratio':>6}{'packed':>9}{'ratio':>7}{'gflops':>8}{'others':>7}")
    for cell, hidden, name in product(cells, rows_a_batch, DTYPES):
        if len(rows) % READ_EVERY == 0:
            matrix.read()
        began, dtype, size = time.perf_counter(), DTYPES[name], rows_a_batch[hidden]
        chosen = choose(lengths, size, work / operations(cell, hidden))
        far = difference(cell, hidden, dtype, Batch(np.maximum(chosen[0] // 3, 1), hidden, hidden))
        batches = [Batch(b, hidden, hidden) for b in chosen]
        with Others() as others:
            times = measure(contenders(cell, hidden, dtype), batches, repeats)
        tokens = sum(b.tokens for b in batches)
        rates = {k: tokens / median(v) for k, v in times.items()}
        best = best_of_torch(rates)
        gflops = rates["native"] * operations(cell, hidden) / 1e9
        row = {
            "cell": cell, "hidden": hidden, "batch": size, "dtype": name, "tokens": tokens, "steps": [len(b.sizes) for b in batches],
            "padding_share": round(1 - tokens / sum(b.slots for b in batches), 4), "native": round(rates["native"]), "torch_best": best,
            "ratio": round(rates["native"] / rates[best], 3), "ratio_to_packed": round(rates["native"] / rates["packed"], 2),
            "tokens_per_second": {k: round(v) for k, v in rates.items()}, "gflops": round(gflops, 1), "difference": far,
            "cores_used_by_others": others.cores, "seconds_of_passes": {k: [round(s, 5) for s in v] for k, v in times.items()},
            "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip
        rows.append(row)
        print(f"{cell:5}{hidden:7}{size:6} {name:9}{rates['native']:9,.0f}{rates[best]:9,.0f}  {best:17}{row['ratio']:6.2f}{rates['packed']:9,.0f}{row['ratio_to_packed']:7.1f}{gflops:8.1f}{others.cores:7.2f}", flush=True)
    return rows


def best_of_torch(rates: dict[str, float]) -> str:
    """The fastest contender but native."""
    return max((k for k in rates if k != "native"), key=lambda k: rates[k])


def set_shares(rows: Sequence[dict[str, Any]], matrix: MatrixRate) -> None:
    """Completes the table's rows when the last reading is made."""
    for row in rows:
        rate = matrix.of(row["dtype"])
        row |= {"torch_mm_gflops": round(rate, 1), "share": round(row["gflops"] / rate, 3)}
        print(f"share: {row['cell']} {row['hidden']} {row['dtype']}: {row['gflops']} of {rate:.1f} GFLOP/s, {row['share']:.0%}")


def few(cells: Sequence[str], sizes: Sequence[int], lengths: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """Few reviews at a time: native and torch's, forward and backward, and forward alone without gradients."""
    rows = []
    row_seconds, least = FEW_SECONDS
    nearest = lengths[np.abs(lengths - FEW_TOKENS).argsort(kind="stable")]
    for cell, hidden, name in product(cells, sizes, DTYPES):
        for reviews in FEW[cell]:
            batch = Batch(np.sort(nearest[:reviews])[::-1].copy(), hidden, hidden)
            far = difference(cell, hidden, DTYPES[name], batch)
            tried = contenders(cell, hidden, DTYPES[name])
            for kind, backward in (("forward and backward", True), ("forward", False)):
                tried[0].seconds([batch], backward)
                passes = int(np.ceil(least / tried[0].seconds([batch], backward)))
                with Others() as others:
                    times = measure(tried, [batch] * passes, repeats, row_seconds, backward)
                rates = {k: passes * batch.tokens / median(v) for k, v in times.items()}
                best = best_of_torch(rates)
                row = {
                    "cell": cell, "hidden": hidden, "batch": reviews, "dtype": name, "pass": kind, "tokens": batch.tokens, "passes": passes,
                    "native": round(rates["native"]), "torch_best": best, "ratio": round(rates["native"] / rates[best], 3),
                    "ratio_to_tenor_on_torch": round(rates["native"] / rates["tenor on torch"], 3),
                    "tokens_per_second": {k: round(v) for k, v in rates.items()}, "difference": far, "cores_used_by_others": others.cores,
                    "seconds_of_passes": {k: [round(s, 5) for s in v] for k, v in times.items()},
                }  # fmt: skip
                rows.append(row)
                print(f"few: {cell} {hidden} {name}, {reviews} reviews, {kind}: {row['native']:,} tokens/s, torch {rates[best]:,.0f} ({best}), {row['ratio']:.2f} times; others {others.cores:.2f}", flush=True)
    return rows


def threads(cells: Sequence[str], sizes: Sequence[int], lengths: np.ndarray, repeats: int, work: float) -> list[dict[str, Any]]:
    """Native with one thread and with all, in turn."""
    most, rows = torch.get_num_threads(), []
    for cell in cells:
        for hidden in sizes:
            for name, dtype in DTYPES.items():
                layer = Contender("native", native_layer(cell, hidden, dtype), "packed", kernel="native")
                batches = [Batch(b, hidden, hidden) for b in choose(lengths, ROWS_A_BATCH[hidden], work / operations(cell, hidden))]
                times: dict[int, list[float]] = {1: [], most: []}
                with Others() as others:
                    for _ in range(1 + repeats):
                        for number in times:
                            torch.set_num_threads(number)
                            times[number].append(layer.seconds(batches))
                rates = {number: sum(b.tokens for b in batches) / median(s[1:]) for number, s in times.items()}
                row = {"cell": cell, "hidden": hidden, "dtype": name, "tokens_per_second": {str(k): round(v) for k, v in rates.items()}, "ratio": round(rates[most] / rates[1], 3), "cores_used_by_others": others.cores}
                rows.append(row)
                print(f"threads: {cell} {hidden} {name}: 1: {rates[1]:,.0f}, {most}: {rates[most]:,.0f} tokens/s, {row['ratio']:.2f} times; others {others.cores:.2f}", flush=True)
    torch.set_num_threads(most)
    return rows


# Cost against length -------------------------------------------------------------------------------------------------


def peak_mb() -> float:
    """Greatest resident memory of this process so far. Linux: without what the one that started it had."""
    path = Path("/proc/self/status")
    if path.exists():
        return int(next(line for line in path.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MB if sys.platform == "darwin" else 1024)


def memory_of_a_pass() -> None:
    """In a process of its own: the case from stdin, the memory before a pass (input and cotangent made) and at its peak to stdout."""
    case = json.load(sys.stdin)
    torch.set_num_threads(case["threads"])
    hidden = case["hidden"]
    layer = Contender("native", native_layer(case["cell"], hidden, DTYPES[case["dtype"]]), "packed", kernel="native")
    batch = Batch(np.array(case["lengths"]), hidden, hidden)
    layer.run(Batch(np.array([3, 2]), hidden, hidden))
    for what in ("x", "d_out"):
        batch.get(what, "packed", torch.float32)
    before = peak_mb()
    layer.run(batch)
    print(json.dumps({"before": before, "peak": peak_mb()}))


def linear(cell: str, hidden: int, lengths: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """Native on a batch of reviews, and on rows 2, 4 and 8 times as long: seconds a token, and memory."""
    rows = []
    reviews = choose(lengths, ROWS_A_BATCH[hidden], np.inf)[1]  # of the mean length
    for name, dtype in DTYPES.items():
        layer = Contender("native", native_layer(cell, hidden, dtype), "packed", kernel="native")
        batches = {times: Batch(reviews * times, hidden, hidden) for times in (1, 2, 4, 8)}
        seconds: dict[int, list[float]] = {times: [] for times in batches}
        with Others() as others:
            for _ in range(1 + repeats):
                for times, batch in batches.items():
                    seconds[times].append(layer.seconds([batch]))
        each = {times: median(s[1:]) / batches[times].tokens for times, s in seconds.items()}
        for times, batch in batches.items():
            case = {"cell": cell, "hidden": hidden, "dtype": name, "lengths": (reviews * times).tolist(), "threads": torch.get_num_threads()}
            done = subprocess.run([sys.executable, __file__, "--memory"], input=json.dumps(case), stdout=subprocess.PIPE, text=True, check=True)
            memory = json.loads(done.stdout)
            row = {
                "cell": cell, "hidden": hidden, "dtype": name, "times": times, "tokens": batch.tokens, "tokens_per_second": round(1 / each[times]),
                "seconds_a_token_to_1x": round(each[times] / each[1], 3), "peak_memory_mb": round(memory["peak"], 1),
                "pass_memory_mb": round(memory["peak"] - memory["before"], 1), "cores_used_by_others": others.cores,
            }  # fmt: skip
            rows.append(row)
            print(f"linear: {cell} {hidden} {name} x{times}: {batch.tokens:,} tokens, {row['tokens_per_second']:,} tokens/s, seconds a token {row['seconds_a_token_to_1x']:.2f} of x1, peak {memory['peak']:,.0f} MB, of which the pass {row['pass_memory_mb']:,.1f}; others {others.cores:.2f}", flush=True)
    return rows


def main() -> None:
    parts = ("table", "few", "threads", "linear")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=GATES, default=list(GATES), metavar="CELL", help=f"of: {', '.join(GATES)}")
    parser.add_argument("--hidden", nargs="+", type=int, choices=ROWS_A_BATCH, default=list(ROWS_A_BATCH), metavar="H", help=f"of: {', '.join(map(str, ROWS_A_BATCH))}")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), metavar="PART", help=f"of: {', '.join(parts)}")
    parser.add_argument("--isa", choices=ISAS, help="hold Tenor and torch to these instructions; a shorter table, and no other part")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="a tenth of the work and two repeats")
    parser.add_argument("--out", type=Path, help="JSON to write; without it a run of everything writes results/kernels.json, or kernels_ISA.json")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)  # what `linear` starts
    asked = parser.parse_args()
    if not native.available():
        raise SystemExit(native.why_not())
    limits = ISAS.get(asked.isa, {})
    if any(os.environ.get(k) != v for k, v in limits.items()):  # torch's libraries read them when they start
        raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=os.environ | limits, check=False).returncode)
    if asked.memory:
        memory_of_a_pass()
        return
    torch.set_num_threads(asked.threads)
    repeats = 2 if asked.quick else REPEATS
    work = (ISA_WORK if asked.isa else WORK) / (10 if asked.quick else 1)
    began = time.perf_counter()
    lengths = review_lengths()
    seconds = {"read": time.perf_counter() - began}
    answer: dict[str, Any] = {"made_with": command()}
    answer["machine"] = machine() | {"isa": native.isa(), "torch_isa": torch.backends.cpu.get_cpu_capability(), "limits": limits, "threads": asked.threads}
    answer["reviews"] = {"rows": len(lengths), "mean_tokens": round(float(lengths.mean()), 1), "limit": LIMIT}
    batch_of = {h: rows for h, rows in (ISA_ROWS_A_BATCH if asked.isa else ROWS_A_BATCH).items() if h in asked.hidden}
    small = [h for h in asked.hidden if h <= 256]
    matrix = MatrixRate()
    run: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "table": lambda: table(asked.only, batch_of, lengths, repeats, work, matrix),
        "few": lambda: few(asked.only, [h for h in FEW_SIZES if h in asked.hidden], lengths, repeats),
        "threads": lambda: threads(asked.only[:1], small, lengths, repeats, work),
        "linear": lambda: linear(asked.only[0], 128, lengths, repeats) if 128 in small else [],
    }
    for part in parts[:1] if asked.isa else asked.parts:
        start = time.perf_counter()
        answer[part] = run[part]()
        seconds[part] = time.perf_counter() - start
    if "table" in answer:
        matrix.read()
        answer["matrix_rate"] = matrix.answer()
        set_shares(answer["table"], matrix)
    answer["seconds"] = {k: round(v, 1) for k, v in (seconds | {"all": time.perf_counter() - began}).items()}
    everything = asked.only == list(GATES) and asked.hidden == list(ROWS_A_BATCH) and asked.parts == list(parts) and not asked.quick
    out = asked.out or (RESULTS / f"kernels{f'_{asked.isa}' if asked.isa else ''}.json" if everything else None)
    if out:
        out.write_text(json.dumps(answer, indent=2) + "\n")
    print(f"{answer['seconds']['all']:.0f} s; {f'written to {out.name}' if out else 'not all of it ran, so nothing is written; --out says where'}")


if __name__ == "__main__":
    main()
