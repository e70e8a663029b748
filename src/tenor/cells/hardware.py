"""Device and number format, chosen where the user says auto."""

from __future__ import annotations

import torch

from tenor.config import Device, ModelConfig, Precision
from tenor.errors import TenorError


def choose_device(wish: Device) -> torch.device:
    """Raises TenorError if cuda is asked for and torch finds none."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise TenorError("--device cuda needs a GPU and a CUDA build of torch; torch finds none here. Use --device cpu, or see the README on builds.")
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(wish: Precision, device: torch.device, model: ModelConfig) -> torch.dtype:
    """The format of the recurrent layers' products.

    auto takes bfloat16 where it was measured faster on a CPU with AVX512-BF16 (torch 2.13, 2 cores, forward and backward on
    review lengths, thousand tokens a second, float32 -> bfloat16): LSTM 64: 273 -> 382, 128: 98 -> 167, 256: 36 -> 66;
    GRU 64: 100 -> 75, 128: 73 -> 78, 256: 25 -> 45; RNN 64: 188 -> 138, 128: 164 -> 167, 256: 65 -> 103.
    """
    if wish != "auto":
        return getattr(torch, wish)  # type: ignore[no-any-return]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    faster = model.cell == "lstm" or model.hidden >= 128
    return torch.bfloat16 if faster and _has_bfloat16() else torch.float32


def _has_bfloat16() -> bool:
    """True if the CPU multiplies bfloat16 by itself, and does not emulate it."""
    return bool(torch.cpu._is_avx512_bf16_supported())
