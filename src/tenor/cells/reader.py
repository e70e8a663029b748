"""An embedding and one recurrent layer with frozen weights, read at once: word ids in, one vector a row out.

Each word's product with W_ih is computed once and looked up afterwards, and the outputs are pooled as they come: half of the
products, and neither x nor the outputs are ever written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tenor.cells import kernels, native
from tenor.cells.reference import Weights
from tenor.errors import TenorError

IN_8_BITS = "; recurrent products in 8 bits"  # said behind the kernel's name

CELLS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class Reader:
    """Weights as they are now: later changes do not reach it.

    Args:
        cell: one of CELLS.
        embedding: [V, E] on the CPU.
        weights: as in the kernels' contract (reference.py).
        compute: format of the products and of the looked-up sums, torch.float32 or torch.bfloat16; torch.int8 takes W_hh (a scale
            a column; without VNNI one that leaves room for two weights side by side) and the states of the recurrent product in 8 bits, tanh and sigmoid to 1.2e-4 (but what keeps a state exactly), and all else as bfloat16 does, on CPUs with AVX2.

    Raises:
        TenorError: the engine is not built, TENOR_KERNEL forces another kernel, an unknown cell or format, or weights that do not fit.
    """

    def __init__(self, cell: str, embedding: Tensor, weights: Sequence[Weights], compute: torch.dtype) -> None:
        if not native.available():
            raise TenorError(f"A Reader needs the engine: {native.why_not()}.")
        if kernels.wish() not in ("auto", "native"):
            raise TenorError(f"A Reader is the engine's, and TENOR_KERNEL={kernels.wish()} forces another kernel. Unset TENOR_KERNEL, or set it to auto.")
        if cell not in CELLS or compute not in (torch.float32, torch.bfloat16, torch.int8) or len(weights) not in (1, 2) or embedding.dim() != 2:
            raise TenorError(
                f"A Reader takes {', '.join(CELLS)} in float32, bfloat16 or int8, an embedding [V, E] and 1 or 2 directions; "
                f"got {cell} in {compute}, {list(embedding.shape)} and {len(weights)}."
            )
        eight = compute == torch.int8
        if eight and lacks_8_bits(cell):
            raise TenorError(lacks_8_bits(cell))
        self.vocabulary, self.directions, self.hidden = len(embedding), len(weights), weights[0][1].shape[1]
        flat = [None if w is None else w.detach().float().contiguous() for direction in weights for w in direction]
        embedding = embedding.detach().float().contiguous()
        if embedding.device.type != "cpu":
            raise TenorError(f"A Reader's embedding is on the CPU; got {embedding.device}.")
        if eight and not all(bool(t.isfinite().all()) for t in (embedding, *flat) if t is not None):
            raise TenorError("8-bit products need finite weights; these hold NaN or infinity, which 8 bits cannot. Use bfloat16 or float32.")
        native.check_weights(cell, embedding.shape[1], self.hidden, flat, torch.float32)
        self._layer = native.pack(cell, torch.bfloat16 if eight else compute, embedding.shape[1], self.hidden, flat)
        self._layer.fold(embedding.data_ptr(), self.vocabulary, eight, torch.get_num_threads())

    def pooled(self, ids: Tensor, batch_sizes: Tensor) -> Tensor:
        """ids [N] int64 packed, batch_sizes [T] -> [B, 2*D*H]: greatest and mean value of each output over a row's own tokens."""
        out = torch.empty(self._check(ids, batch_sizes), 2 * self.directions * self.hidden)
        self._read(ids, batch_sizes, out, None)
        return out

    def last(self, ids: Tensor, batch_sizes: Tensor) -> Tensor:
        """-> [D, B, H], the state after each row's last token (the second direction: after its first)."""
        out = torch.empty(self.directions, self._check(ids, batch_sizes), self.hidden)
        self._read(ids, batch_sizes, None, out)
        return out

    def _check(self, ids: Tensor, batch_sizes: Tensor) -> int:
        """-> number of rows"""
        if ids.dtype != torch.int64 or ids.dim() != 1 or ids.device.type != "cpu":
            raise TenorError(f"ids is [N] int64 on the CPU; got {list(ids.shape)} {ids.dtype} on {ids.device}.")
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise TenorError(f"Token ids must be from 0 to {self.vocabulary - 1}, the rows of the embedding; got {int(ids.min())} to {int(ids.max())}.")
        return native.check_sizes(batch_sizes, len(ids))

    def _read(self, ids: Tensor, batch_sizes: Tensor, pooled: Tensor | None, last: Tensor | None) -> None:
        ids, batch_sizes = ids.contiguous(), batch_sizes.contiguous()
        self._layer.read(native.packed_at(batch_sizes, len(ids)), ids.data_ptr(), native.address(pooled), native.address(last), torch.get_num_threads())


def lacks_8_bits(cell: str) -> str:
    """Why there are no 8-bit products for the cell, and what to do; empty where there are."""
    if not native.available():
        return f"8-bit products need the engine: {native.why_not()}."
    if cell == "rnn_relu":  # what is 8 bits of a state is its 127ths
        return "8-bit products need a cell whose states are at most 1, and those of rnn_relu have no bound. Use bfloat16 or float32."
    if native.traits().int8:
        return ""
    able = [name for name in native.isas() if native.traits(name).int8]
    if able:
        return f"8-bit products need AVX2, which this CPU has and TENOR_ISA={native.isa()} forbids. Unset it, set it to {' or '.join(able)}, or use bfloat16 or float32."
    return "8-bit products need AVX2, which this CPU has not. Use bfloat16 or float32."


def has_8_bits(cell: str) -> bool:
    """Whether a model of that cell ("rnn": rnn_tanh) can have 8-bit products here."""
    return kernels.wish() in ("auto", "native") and not lacks_8_bits("rnn_tanh" if cell == "rnn" else cell)


def need_8_bits(cell: str, lacks: str = "") -> None:
    """Raises TenorError where a model of that cell cannot have 8-bit products; `lacks`: what else is missing, and what to do."""
    lacks = lacks or lacks_8_bits("rnn_tanh" if cell == "rnn" else cell)
    if lacks:
        raise TenorError(f"Precision int8 cannot be had here. {lacks}")
    if kernels.wish() not in ("auto", "native"):
        raise TenorError(f"Precision int8 needs the native kernel, and TENOR_KERNEL={kernels.wish()} forces another. Unset TENOR_KERNEL, or use bfloat16 or float32.")
