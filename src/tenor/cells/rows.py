"""The forms of an input (packed, padded, one row) to packed rows, and outputs and states back to the form they came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tenor.cells.checks import check_input, check_lengths
from tenor.cells.places import pick, put
from tenor.errors import TenorError


@dataclass(frozen=True)
class Rows:
    """A batch as the kernels take it.

    Fields:
        data: [N, I] packed, time-major, longest row first.
        batch_sizes: [T] int64 on the CPU, of the longest row's steps.
        batch: B, rows of length 0 included.
        order, back: [B] the caller's row at each place, and the place of each of the caller's rows; None if they are the same.
        output: [N, F] to the form of the input.
        single: the input was one row without a batch dimension, and so are the states.
    """

    data: Tensor
    batch_sizes: Tensor
    batch: int
    order: Tensor | None
    back: Tensor | None
    output: Callable[[Tensor], Tensor | PackedSequence]
    single: bool = False

    def sorted(self, state: Tensor) -> Tensor:
        """[L, B, H] in the caller's order (or [L, H]) -> [L, B, H] as the kernels take it."""
        state = state.unsqueeze(1) if self.single else state
        return state if self.order is None else state.index_select(1, self.order.to(state.device))

    def unsorted(self, state: Tensor) -> Tensor:
        """The other way."""
        state = state.squeeze(1) if self.single else state
        return state if self.back is None else state.index_select(1, self.back.to(state.device))


def to_rows(x: Tensor | PackedSequence, lengths: Tensor | Sequence[int] | None, batch_first: bool, size: int) -> Rows:
    """Any form of input to packed rows.

    Args:
        x: packed; padded [T, B, I], or [B, T, I] if batch_first; or one row [T, I].
        lengths: [B] tokens of each row of a padded input; None: T each.
        size: I, what the layer takes.

    Raises:
        TenorError: wrong rank, size or type of x; lengths of a packed input; wrong count, kind or range of lengths.
    """
    if isinstance(x, PackedSequence):
        if lengths is not None:
            raise TenorError("A PackedSequence brings its own lengths. Leave lengths out, or give the padded tensor.")
        check_input(x.data, (2,), "the data of a PackedSequence", size)
        sizes, order, back = x.batch_sizes, x.sorted_indices, x.unsorted_indices
        return Rows(x.data, sizes, int(sizes[0]) if len(sizes) else 0, order, back, lambda out: PackedSequence(out, sizes, order, back))
    if not isinstance(x, Tensor):
        raise TenorError(f"The input must be a tensor or a PackedSequence, not {type(x).__name__}. Convert it with torch.as_tensor.")
    check_input(x, (2, 3), "the input", size)
    return _from_padded(x, lengths, batch_first)


def _from_padded(x: Tensor, lengths: Tensor | Sequence[int] | None, batch_first: bool) -> Rows:
    single, rows_first = x.dim() == 2, batch_first and x.dim() == 3
    steps, batch = (len(x), 1) if single else (x.shape[1], x.shape[0]) if rows_first else (x.shape[0], x.shape[1])
    counts = None if lengths is None else check_lengths(lengths, batch, steps)

    def shaped(out: Tensor) -> Tensor:
        return out.view(*x.shape[:-1], out.shape[1])

    if counts is None or bool((counts == steps).all()):
        data = (x.transpose(0, 1) if rows_first else x).reshape(steps * batch, x.shape[-1])
        sizes = torch.full((steps if batch else 0,), batch, dtype=torch.int64, device="cpu")
        turned: Callable[[Tensor], Tensor] = lambda out: out.view(steps, batch, out.shape[1]).transpose(0, 1)  # noqa: E731
        return Rows(data, sizes, batch, None, None, turned if rows_first else shaped, single)
    counts, order = counts.sort(descending=True, stable=True)
    in_order = bool((order[1:] > order[:-1]).all())
    time = torch.arange(int(counts[0]), device="cpu")[:, None]  # [T, 1]
    live = time < counts  # [T, B]
    index = (order * steps + time if rows_first else time * batch + order)[live]  # [N] place in x of each packed token
    return Rows(
        pick(x.reshape(steps * batch, x.shape[-1]), index),
        live.sum(1),
        batch,
        None if in_order else order,
        None if in_order else order.argsort(),
        lambda out: shaped(put(out, index, steps * batch)),
        single,
    )
