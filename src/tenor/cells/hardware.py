"""Device and number format, chosen where the user says auto."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import torch

from tenor.cells import kernels, native
from tenor.cells.kernels import LABELS, choose
from tenor.config import Cell, Device, ModelConfig, ReadingPrecision, TranscribeConfig
from tenor.errors import TenorError


def choose_device(wish: Device) -> torch.device:
    """Raises TenorError if cuda is asked for and torch finds none."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise TenorError("--device cuda needs a GPU and a CUDA build of torch; torch finds none here. Use --device cpu, or see the README on builds.")
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(wish: ReadingPrecision, device: torch.device, model: ModelConfig | TranscribeConfig) -> torch.dtype:
    """The format of the recurrent layers' products.

    auto takes bfloat16 where it was measured faster: by the native kernels at every size, if the instruction set in use (TENOR_ISA's
    too) multiplies it (benchmarks/results/kernels.json); by torch's, if the CPU does and they have more to multiply than to convert (torch 2.13, 2 cores,
    forward and backward, thousand tokens a second, float32 -> bfloat16: LSTM 64: 273 -> 382; GRU 64: 100 -> 75, 128: 73 -> 78;
    RNN 64: 188 -> 138, 128: 164 -> 167).
    """
    if wish not in get_args(ReadingPrecision):
        raise TenorError(f"precision is one of {', '.join(get_args(ReadingPrecision))}; got {wish!r}.")
    if wish != "auto":
        return getattr(torch, wish)  # type: ignore[no-any-return]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    cell = "rnn_tanh" if model.cell == "rnn" else model.cell
    if choose(cell, model.hidden, 32, torch.bfloat16, device).name == "native":
        faster = native.traits().bfloat16
    else:
        faster = bool(torch.cpu._is_avx512_bf16_supported()) and (model.cell == "lstm" or model.hidden >= 128)
    return torch.bfloat16 if faster else torch.float32


def precision_of_stored(wish: ReadingPrecision, kind: str, device: Device, weights: Mapping[str, np.ndarray], able: Callable[[], bool]) -> ReadingPrecision:
    """What auto means for a model folder: weights that are stored in 8 bits (tenor shrink) are read in 8 bits, where that can be. Whoever shrank it wants it small and
    fast. States are then rounded too, and tenor shrink --check tells what both cost, where it runs on such a CPU.

    Args:
        wish, device: the user's.
        kind: how the weights are stored (compact.KINDS). weights: themselves, which 8-bit products need finite.
        able: tells whether the network can be read in 8 bits here; asked only where it matters.
    """
    eight = wish == "auto" and kind == "int8" and choose_device(device).type == "cpu" and able() and all(np.isfinite(w).all() for w in weights.values())
    return "int8" if eight else wish


def describe() -> dict[str, object]:
    """What this machine trains layers of 128 units with, 32 rows at a time, where nothing else is asked for.

    Raises:
        TenorError: TENOR_KERNEL or TENOR_ISA ask for what is not there.
    """
    if not native.available():
        engine = f"absent: {native.why_not()}"
    elif kernels.wish() in ("auto", "native"):
        passed = native.passed_over()
        engine = f"built; {native.isa()} of {', '.join(native.isas())}" + (f"; {passed}" if passed else "")
    else:
        engine = f"built, and left out by TENOR_KERNEL={kernels.wish()}"
    device = choose_device("auto")
    formats = {cell: choose_dtype("auto", device, ModelConfig(cell=cell, hidden=128)) for cell in get_args(Cell)}
    chosen = {label: choose(cell, 128, 32, formats[cell.partition("_")[0]], device).why for cell, label in LABELS.items()}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"engine": engine, "torch": torch.__version__, "threads": torch.get_num_threads(), "gpu": gpu} | chosen
