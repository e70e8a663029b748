"""Weights in few bytes: 8 bits with a scale a row, or bfloat16. What is read back is float32 again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tenor.errors import TenorError, nearest

KINDS = ("float32", "bfloat16", "int8")
SCALE = ":scale"  # NAME:scale holds the scales of NAME's rows


def packed(weights: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """What is stored in the place of the weights.

    int8: a matrix [rows, columns] becomes int8, and its scales float32 [rows]: a weight is its number times its row's scale.
    An embedding then has a scale a word, a gate's weights one a unit. Vectors (biases) stay float32.
    bfloat16: the upper 16 bits of each float32, rounded to even, as uint16 (NumPy has no bfloat16).
    Both: whole numbers of 64 bits (pairs of words) as uint32 where they fit.

    Raises:
        TenorError: no such kind.
    """
    _check(kind)
    if kind == "float32":
        return dict(weights)
    out: dict[str, np.ndarray] = {}
    for name, weight in weights.items():
        if weight.dtype == np.int64 and weight.min(initial=0) >= 0 and weight.max(initial=0) < 2**32:
            out[name] = weight.astype(np.uint32)
        elif weight.dtype != np.float32 or (kind == "int8" and weight.ndim < 2):
            out[name] = weight
        elif kind == "int8":
            out[name], out[name + SCALE] = _rounded(weight)
        else:
            out[name] = _upper(weight)
    return out


def unpacked(tensors: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """The weights again: float32, and int64 for whole numbers.

    Raises:
        TenorError: no such kind, or 8 bits without the scales of their rows.
    """
    _check(kind)
    if kind == "float32":
        return dict(tensors)
    out: dict[str, np.ndarray] = {}
    for name, stored in tensors.items():
        if name.endswith(SCALE):
            continue
        if stored.dtype == np.int8:
            scale = tensors.get(name + SCALE)
            if scale is None or scale.shape != stored.shape[:1]:
                raise TenorError(f"{name} is stored in 8 bits without a scale for each of its rows. Copy the model folder again.")
            out[name] = stored * scale.reshape(-1, *[1] * (stored.ndim - 1))
        elif stored.dtype == np.uint16:
            out[name] = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            out[name] = stored.astype(np.int64) if stored.dtype == np.uint32 else stored
    return out


def _rounded(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the weight's shape, and [rows] float32: a 127th of the row's greatest weight, so that rounding is off by half of that at most."""
    greatest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), initial=0)
    scale = np.where(greatest > 0, greatest / 127, 1).astype(np.float32)
    return np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).clip(-127, 127).astype(np.int8), scale


def _upper(weight: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(weight).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise TenorError(f"Weights are stored as {', '.join(KINDS)}; got {kind!r}{nearest(str(kind), KINDS)}")
