"""What stands around a recurrence in a text model, each in one pass over packed rows: the embedding with its dropouts, and pooling.

In C++ (csrc/rows.cpp) where the engine is and TENOR_KERNEL is neither torch nor reference, else in torch; both give the same.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells import kernels, native
from tenor.cells.native import address, check_sizes, packed_at
from tenor.cells.places import places_of
from tenor.errors import TenorError


def embed(table: Tensor, ids: Tensor, batch_sizes: Tensor, scale: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Rows of a table, times a number a token and a mask a sequence. The table's gradient is sparse: only rows that occur have one.

    Args:
        table: [V, E] float32.
        ids: [N] int64, packed, each from 0 to V - 1.
        batch_sizes: [T] int64 of the packing, on the CPU.
        scale: [N] float32, without gradient; None: 1. In the engine a token of scale 0 is skipped on the way back, even if its gradient is not finite.
        mask: [B, E] float32, without gradient; None: 1.

    Returns:
        [N, E]

    Raises:
        TenorError: an id that the table has not, or shapes that do not fit.
    """
    if ids.dim() != 1 or ids.dtype != torch.int64 or table.dim() != 2:
        raise TenorError(f"ids are [N] int64 and the table is [V, E]; got {list(ids.shape)} {ids.dtype} and {list(table.shape)}.")
    batch = check_sizes(batch_sizes, len(ids))
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
        raise TenorError(f"Token ids must be from 0 to {len(table) - 1}, the rows of the embedding; got {int(ids.min())} to {int(ids.max())}.")
    if (scale is not None and scale.shape != ids.shape) or (mask is not None and mask.shape != (batch, table.shape[1])):
        shapes = [None if t is None else list(t.shape) for t in (scale, mask)]
        raise TenorError(f"scale is [N] and mask [B, E]; got {shapes} for {len(ids)} tokens in {batch} rows and E = {table.shape[1]}.")
    if _in_engine(table, scale, mask) and ids.device.type == "cpu":
        out: Tensor = native.outside_compiler(_Embed.apply)(table, ids, batch_sizes, scale, mask)
        return out
    x = F.embedding(ids, table, sparse=True)
    x = x if scale is None else x * scale[:, None]
    return x if mask is None or not len(ids) else x * mask[places_of(batch_sizes).rows.to(x.device)]


def max_mean(x: Tensor, batch_sizes: Tensor) -> Tensor:
    """[N, F] packed -> [B, 2F]: greatest and mean value of each feature over a row's own tokens. The gradient of a greatest value
    that stands at several steps goes to the first (in torch's path: to all in equal parts)."""
    if x.dim() != 2:
        raise TenorError(f"x is [N, F]; got {list(x.shape)}.")
    check_sizes(batch_sizes, len(x))
    if _in_engine(x):
        out: Tensor = native.outside_compiler(_MaxMean.apply)(x, batch_sizes)
        return out
    if not len(x):
        return x.new_empty(0, 2 * x.shape[1])
    places = places_of(batch_sizes)
    live = places.live.to(x.device)[:, :, None]
    padded = places.pad(x)  # [T, B, F]
    most = padded.masked_fill(~live, -math.inf).amax(0)
    mean = (padded.masked_fill(~live, 0)).sum(0) / places.lengths.to(x.device)[:, None]
    return torch.cat((most, mean), 1)


def _in_engine(*tensors: Tensor | None) -> bool:
    """Raises TenorError if TENOR_KERNEL=native asks for the engine where it cannot be."""
    wish = kernels.wish()
    there = [t for t in tensors if t is not None]
    fits = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in there)
    if wish == "native" and not (fits and native.available()):
        raise TenorError(f"TENOR_KERNEL=native cannot embed or pool this: {native.why_not() or 'the engine does it in float32 on the CPU'}. Unset TENOR_KERNEL, or set it to auto.")
    return wish in ("auto", "native") and fits and native.available()


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, batch_sizes: Tensor, scale: Tensor | None, mask: Tensor | None) -> Tensor:
        table, ids, batch_sizes = table.contiguous(), ids.contiguous(), batch_sizes.contiguous()
        scale, mask = None if scale is None else scale.contiguous(), None if mask is None else mask.contiguous()
        out = table.new_empty(len(ids), table.shape[1])
        native.engine().embed(packed_at(batch_sizes, len(ids)), address(table), address(ids), address(scale), address(mask), table.shape[1], address(out), torch.get_num_threads())
        native.save(ctx, ids, batch_sizes, scale, mask)
        ctx.shape = table.shape
        return out

    @staticmethod
    @native.first_derivative("Set TENOR_KERNEL=torch")
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        ids, batch_sizes, scale, mask = native.saved(ctx)
        d_out, width = d_out.contiguous(), ctx.shape[1]
        distinct, sums = torch.empty_like(ids), torch.empty_like(d_out)
        count = native.engine().embed_back(packed_at(batch_sizes, len(ids)), address(ids), address(scale), address(mask), width, address(d_out), address(distinct), address(sums), torch.get_num_threads())
        # Ascending and without repetition, so it may be called coalesced; its invariants hold by construction.
        gradient = torch.sparse_coo_tensor(distinct[None, :count], sums[:count], ctx.shape, is_coalesced=True, check_invariants=False)
        return gradient, None, None, None, None


class _MaxMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, batch_sizes: Tensor) -> Tensor:
        x, batch_sizes = x.contiguous(), batch_sizes.contiguous()
        batch, width = int(batch_sizes[0]) if len(batch_sizes) else 0, x.shape[1]
        most, mean = x.new_empty(batch, width), x.new_empty(batch, width)
        at = torch.empty(batch, width, dtype=torch.int32)
        native.engine().pool(packed_at(batch_sizes, len(x)), address(x), width, address(most), address(mean), address(at), torch.get_num_threads())
        native.save(ctx, batch_sizes, at)
        ctx.rows = len(x)
        return torch.cat((most, mean), 1)

    @staticmethod
    @native.first_derivative("Set TENOR_KERNEL=torch")
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, None]:
        batch_sizes, at = native.saved(ctx)
        width = at.shape[1]
        d_most, d_mean = d_out[:, :width].contiguous(), d_out[:, width:].contiguous()
        d_x = d_out.new_empty(ctx.rows, width)
        native.engine().pool_back(packed_at(batch_sizes, ctx.rows), address(d_most), address(d_mean), address(at), width, address(d_x), torch.get_num_threads())
        return d_x, None
