"""Where packed tokens stand in a padded batch, and moving them there and back, with gradients that are moves too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class _Gather(torch.autograd.Function):
    """Rows of x [M, F] at `index` [K] -> [K, F].

    `back` is the other way: every row of x that counts stands at `back` in the result, once. So the gradient is a gather
    too, where torch's own index_select would add row by row.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0].index_select(0, back), None, None


class _Pick(torch.autograd.Function):
    """Rows of x [M, F] at `index` [K], none twice -> [K, F]; the other rows of x get no gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(x)  # type: ignore[attr-defined]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors  # type: ignore[attr-defined]
        grad = grads[0].new_zeros(ctx.rows, grads[0].shape[1])  # type: ignore[attr-defined]
        return grad.index_copy_(0, index, grads[0]), None


class _Put(torch.autograd.Function):
    """The other way: x [K, F] to the rows `index` [K] of zeros [M, F]."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(index)
        return x.new_zeros(rows, x.shape[1]).index_copy_(0, index, x)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0].index_select(0, index), None, None


def pick(x: Tensor, index: Tensor) -> Tensor:
    """[M, F], [K] -> [K, F]: rows of x, none twice; the others get a gradient of exactly 0."""
    out: Tensor = _Pick.apply(x, index.to(x.device))  # type: ignore[no-untyped-call]
    return out


def put(x: Tensor, index: Tensor, rows: int) -> Tensor:
    """[K, F], [K] -> [rows, F]: x at `index`, 0 elsewhere."""
    out: Tensor = _Put.apply(x, index.to(x.device), rows)  # type: ignore[no-untyped-call]
    return out


class Places:
    """Where each packed token stands in a padded batch [T, B], read forwards or backwards.

    Args:
        batch_sizes: [T] of a PackedSequence, on the CPU, T at least 1.
    """

    def __init__(self, batch_sizes: Tensor) -> None:
        # Kept from one call to the next: what inference_mode makes could not be saved for a later backward pass.
        with torch.inference_mode(False), torch.device("cpu"):
            self.batch_sizes = batch_sizes.clone()
            self.steps, self.batch = len(batch_sizes), int(batch_sizes[0])
            self.full = int(batch_sizes[-1]) == self.batch  # all rows are equally long
            time, row = torch.arange(self.steps)[:, None], torch.arange(self.batch)[None, :]  # [T, 1], [1, B]
            self.live = row < self.batch_sizes[:, None]  # [T, B]
            self.lengths = self.live.sum(0)  # [B]
            first = torch.cumsum(self.batch_sizes, 0) - self.batch_sizes  # [T] packed place of each step's first token
            step = torch.minimum(time, self.lengths - 1)  # padding reads the row's own end: a NaN stays in its row
            turned = (self.lengths - 1 - time).clamp(min=0)  # the step read at (t, b) from behind
            self.padded = ((first[step] + row).flatten(), (first[turned] + row).flatten())  # [T*B] packed place
            # [N] padded place of each packed token
            self.packed = ((time * self.batch + row)[self.live], (turned * self.batch + row)[self.live])
            self.rows = row.expand(self.steps, -1)[self.live]  # [N] which row each packed token belongs to
            self.last = first[self.lengths - 1] + row[0]  # [B] packed place of each row's last token

    def pad(self, x: Tensor, direction: int = 0) -> Tensor:
        """[N, F] packed -> [T, B, F]; what stands in the padding has no meaning and gets no gradient."""
        if self.full:
            whole = x.view(self.steps, self.batch, x.shape[1])
            return whole.flip(0) if direction else whole
        out: Tensor = _Gather.apply(x, self.padded[direction].to(x.device), self.packed[direction].to(x.device))  # type: ignore[no-untyped-call]
        return out.view(self.steps, self.batch, x.shape[1])

    def unpad(self, x: Tensor, direction: int = 0) -> Tensor:
        """[T, B, F] -> [N, F] packed."""
        if self.full:
            return (x.flip(0) if direction else x).flatten(0, 1)
        return pick(x.flatten(0, 1), self.packed[direction])


_latest: Places | None = None


def places_of(batch_sizes: Tensor) -> Places:
    """The Places of these batch sizes; the latest are kept, for all layers, both passes and the pooling of a step ask for the same."""
    global _latest
    found = _latest  # another thread may replace it meanwhile
    if found is None or not torch.equal(found.batch_sizes, batch_sizes):
        _latest = found = Places(batch_sizes)
    return found
