"""Which kernel runs a layer, and why: the engine of csrc/ (native), torch's own, or the reference.

The environment's TENOR_KERNEL forces one of them; what it asks for and cannot have is an error, never another kernel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tenor.cells import native, reference, via_torch
from tenor.errors import TenorError, nearest, plural

WISHES = ("auto", "torch", "native", "reference")
LABELS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN (tanh)", "rnn_relu": "RNN (relu)"}
Pass = Literal["training", "reading", "stepping"]  # with what a backward pass needs; without it; a Stepper's, its weights packed before
Run = Callable[..., tuple[Tensor, Tensor, Tensor | None]]


class Kernel(NamedTuple):
    """What runs: its name (of WISHES), its function (the contract is in reference.py), and a sentence that says why it."""

    name: str
    run: Run
    why: str


class Shapes(NamedTuple):
    """Hidden sizes and batches (rows) over which a measurement holds."""

    hidden: range
    batch: range


_512, _1024 = range(363, 725), range(725, 1449)  # hidden sizes nearer to these than to the next that was measured
SLOWER: dict[tuple[str, torch.dtype, str, Pass], tuple[Shapes, ...]] = {
    # `few` of benchmarks/results/kernels.json and kernels_slower_epyc.json, two CPUs with these instructions, native to via_torch; torch where the geometric mean of both is below 0.96.
    # 512 units, 1 row: 1.02 and 0.88 (4 rows 1.11 and 0.95, 16 rows 1.05 and 0.92); 1024 units, 1 and 4 rows: 0.71 and 0.56, 0.78 and 0.92 (16 rows 0.97: a tie).
    ("lstm", torch.float32, "avx512_bf16", "reading"): (Shapes(_512, range(1, 3)), Shapes(_1024, range(1, 9))),
    # 1024 units, 1 and 4 rows: 1.20 and 0.73, 0.85 and 0.91. In bfloat16 the two disagree in reading 4 rows: 1.24 and 0.87.
    ("lstm", torch.float32, "avx512_bf16", "training"): (Shapes(_1024, range(1, 9)),),
    # benchmarks/results/kernels_amx.json, the same. 512 units, 1 row: 0.58 (16 rows 0.99 and 0.93 in two runs: a tie); 1024 units, 1 and 16 rows: 0.87, 0.87 (4 rows 1.1).
    ("lstm", torch.float32, "amx", "reading"): (Shapes(_512, range(1, 3)), Shapes(_1024, range(1, 3)), Shapes(_1024, range(9, 33))),
    # 512 units, 1, 4 and 16 rows: 0.75, 0.82, 0.89; 1024 units, 4, 16 and 64 rows: 0.87, 0.81, 0.90 (1 row 1.1).
    ("lstm", torch.float32, "amx", "training"): (Shapes(_512, range(1, 33)), Shapes(_1024, range(3, 129))),
    # 512 units, 1 row: 0.90 (4 rows above 1.1).
    ("lstm", torch.bfloat16, "amx", "reading"): (Shapes(_512, range(1, 3)),),
    # 512 units, 1 row: 0.75. 1024 units: 0.95 and 0.96 in two runs, a tie.
    ("gru", torch.float32, "amx", "reading"): (Shapes(_512, range(1, 3)),),
    # 1024 units, 1 row: 0.64.
    ("rnn_tanh", torch.float32, "amx", "reading"): (Shapes(_1024, range(1, 3)),),
}
"""Where via_torch was measured clearly faster than the native kernel: (cell, compute, instruction set, pass) -> shapes.

Few rows of many units: torch gives both threads to one direction, whose weights then stay in the cache; the engine gives a thread to each.
"""
# Instruction sets that benchmarks/results has measurements of: kernels.json, _amx, _avx2, _portable.
MEASURED = ("amx", "avx512_bf16", "avx2", "portable")


def wish() -> str:
    """TENOR_KERNEL's value, one of WISHES. torch and reference keep the engine out of all that a model does: layers, Stepper, embedding, pooling, Reader.

    Raises:
        TenorError: an unknown value.
    """
    found = os.environ.get("TENOR_KERNEL") or "auto"
    if found not in WISHES:
        raise TenorError(f"TENOR_KERNEL must be one of {', '.join(WISHES)}, not {found!r}{nearest(found, WISHES)}")
    return found


def check_environment() -> None:
    """Raises TenorError if TENOR_KERNEL or TENOR_ISA name what is not there: at the start of a command, not after its data is read."""
    if native.available():
        native.wished_isa()
        if wish() in ("auto", "native"):  # the others keep the engine out, so Linux is not asked for its registers
            native.isa()
    if wish() == "native" and not native.available():
        raise TenorError(f"TENOR_KERNEL=native needs the engine: {native.why_not()}. Unset TENOR_KERNEL, or set it to auto.")


def choose(
    cell: str, hidden: int, batch: int, compute: torch.dtype, device: torch.device, *, kind: Pass = "training", masked: bool = False, projected: bool = False
) -> Kernel:
    """The kernel for a layer.

    Args:
        cell: a key of LABELS.
        hidden, batch: units a direction; rows.
        compute: format of the matrix products.
        device: where the rows are.
        kind: of pass.
        masked: the layer has recurrent dropout in this pass.
        projected: the layer has proj_size.

    Raises:
        TenorError: TENOR_KERNEL has an unknown value, or forces a kernel that cannot run this; no kernel has the format.
    """
    wished = wish()
    missing = lacks_format(compute, device)
    if missing:
        raise TenorError(missing)
    torch_lacks = "torch's kernels have no recurrent dropout" if masked else ""
    native_lacks = _native_lacks(device, projected)
    if wished != "auto":
        lacks = {"torch": torch_lacks, "native": native_lacks}.get(wished, "")
        if lacks:
            raise TenorError(f"TENOR_KERNEL={wished} cannot run this {LABELS[cell]}: {lacks}. Unset TENOR_KERNEL, or set it to auto.")
        return _kernel(wished, cell, compute, device, projected, f"TENOR_KERNEL={wished} asks for it")
    if native_lacks:
        if torch_lacks:
            return _kernel("reference", cell, compute, device, projected, f"{torch_lacks}, and {native_lacks}")
        return _kernel("torch", cell, compute, device, projected, native_lacks)
    slower = any(hidden in s.hidden and batch in s.batch for s in SLOWER.get((cell, compute, native.isa(), kind), ()))
    if slower and not torch_lacks:
        return _kernel("torch", cell, compute, device, projected, f"measured faster than the native kernel at {plural(hidden, 'unit')} and {plural(batch, 'row')}, {kind}")
    known = "torch's was not measured clearly faster here" if native.isa() in MEASURED else "the two were not measured on this instruction set"
    return _kernel("native", cell, compute, device, projected, f"the engine is built, and {known}")


def lacks_format(compute: torch.dtype, device: torch.device) -> str:
    """Why no kernel has the format there; empty if one has."""
    if device.type != "cpu" or compute in (torch.float32, torch.bfloat16, torch.float64):
        return ""
    return f"On a CPU the products can be float32, bfloat16 or float64, not {short(compute)}. Set compute to one of these, or move the layer to a GPU."


def _kernel(name: str, cell: str, compute: torch.dtype, device: torch.device, projected: bool, reason: str) -> Kernel:
    if name == "native":
        passed = native.passed_over()
        run, details = native.run, native.isa() + (f" ({passed})" if passed else "")
    elif name == "torch":
        run, details = via_torch.run, via_torch.how(cell, compute, device, projected)
    else:
        run, details = reference.run, "a step at a time in plain torch, slow"
    return Kernel(name, run, f"{name} {LABELS[cell]}, {details}, {short(compute)}: {reason}")


def _native_lacks(device: torch.device, projected: bool) -> str:
    """Why the native kernel cannot run this; empty if it can."""
    if device.type != "cpu":
        return f"the device is {'a GPU' if device.type == 'cuda' else device.type}, and the native kernel is for CPUs"
    if projected:
        return "the native kernel has no proj_size"
    return "" if native.available() else f"the native kernel is not there ({native.why_not()})"


def short(dtype: torch.dtype) -> str:
    """torch.float32 -> float32"""
    return str(dtype).removeprefix("torch.")
