"""The recurrences on torch's own kernels, under the contract of reference.py.

On a CPU torch runs packed rows step by step (LSTM 128 at batch 64: 7,000 tokens a second, forward and backward) but a padded
batch of one direction in oneDNN's fused kernel (98,000; bfloat16 167,000; torch 2.13, 2 cores). A bidirectional layer on a
padded batch would start its second direction in the padding, so each direction runs by itself: the second one on rows
reversed inside their own length. Padding then comes last for both, and what comes later never changes what came before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tenor.cells import reference
from tenor.cells.places import Places, places_of
from tenor.cells.reference import Weights
from tenor.errors import TenorError

# An LSTM's gates in the padding: sigmoid(-1e30) is 0 and sigmoid(1e30) is 1, whatever the rest of the sum, in all formats.
_SHUT = 1e30


def how(cell: str, compute: torch.dtype, device: torch.device, projected: bool) -> str:
    """Which of torch's kernels runs, in a few words."""
    if device.type != "cpu":
        return "cuDNN on packed rows"
    if projected:
        return "a step at a time on packed rows (oneDNN has no projections)"
    steps = ""
    if cell != "lstm":
        steps = "torch has no fused kernel for it"
    elif compute == torch.float64:
        steps = "oneDNN has no float64"
    elif not (torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()):  # type: ignore[no-untyped-call]
        steps = "this torch has oneDNN left out or switched off"
    elif compute == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        steps = "oneDNN has no bfloat16 on this CPU"
    kernel = f"a step at a time ({steps})" if steps else "oneDNN's fused kernel"
    return f"{kernel}, each direction padded at its end"


def run(
    cell: str,
    x: Tensor,
    batch_sizes: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weights: Sequence[Weights],
    compute: torch.dtype,
    mask: Tensor | None = None,
    *,
    projections: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One layer, all its directions: the contract of reference.py.

    In bfloat16 these kernels round the states to bfloat16 too, at every step.

    Raises:
        TenorError: if there is a mask.
    """
    if mask is not None:
        raise TenorError("torch's kernels have no recurrent dropout: they take no mask. Set TENOR_KERNEL to auto, native or reference, or recurrent_dropout to 0.")
    if len(batch_sizes) == 0:  # torch's kernels refuse to run no steps
        return reference.run(cell, x, batch_sizes, h0, c0, weights, compute, projections=projections)
    if x.device.type != "cpu" or projections is not None:
        return stack(cell, x, batch_sizes, h0, c0, weights, compute, projections=projections)
    places = places_of(batch_sizes)
    data = x.to(compute)
    outs, finals, cells = [], [], []
    for d, tensors in enumerate(weights):
        state = (h0[d : d + 1, : places.batch], None if c0 is None else c0[d : d + 1, : places.batch])
        out, c_n = _padded(cell, places.pad(data, d), places, state, tensors)
        outs.append(places.unpad(out, d))  # [N, H]
        # The second direction ends on a row's first token, and rows begin at the first B packed places.
        finals.append(outs[-1][: places.batch] if d else outs[-1].index_select(0, places.last.to(x.device)))
        cells += [] if c_n is None else [c_n]
    whole = torch.cat(outs, 1) if len(outs) > 1 else outs[0]
    c_last = _with_idle(torch.cat(cells), c0, x.dtype) if c0 is not None else None
    return whole.to(x.dtype), _with_idle(torch.stack(finals), h0, x.dtype), c_last


def _padded(cell: str, x: Tensor, places: Places, state: tuple[Tensor, Tensor | None], weights: Weights) -> tuple[Tensor, Tensor | None]:
    """One direction, x [T, B, I] -> its outputs [T, B, H], and the LSTM's cell state after each row's last token [1, B, H].

    torch gives the cell state after the last step only. So that a shorter row keeps its own through the padding, x gets a
    feature that is 1 there and whose weights shut the input gate and open the forget gate.
    """
    h, c = (None if s is None else s.to(x.dtype).contiguous() for s in state)
    tensors = [w.to(x.dtype) for w in weights if w is not None]
    if c is not None and not places.full:
        padding = (~places.live)[:, :, None].to(x)
        column = tensors[0].new_zeros(len(tensors[0]), 1)
        column[: h.shape[2]], column[h.shape[2] : 2 * h.shape[2]] = -_SHUT, _SHUT  # type: ignore[union-attr]
        x, tensors[0] = torch.cat((x, padding), 2), torch.cat((tensors[0], column), 1)
    kernel = getattr(torch._VF, cell)
    biased = weights[2] is not None
    out, *last = kernel(x, h if c is None else (h, c), tensors, biased, 1, 0.0, torch.is_grad_enabled(), False, False)
    return out, last[1] if c is not None else None


def stack(
    cell: str,
    x: Tensor,
    batch_sizes: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weights: Sequence[Weights],
    compute: torch.dtype,
    *,
    projections: Sequence[Tensor] | None = None,
    layers: int = 1,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All layers and directions in one call on packed rows: cuDNN on a GPU, a step at a time on a CPU.

    Args:
        h0, c0: [layers * D, B, H].
        weights, projections: one of each layer and direction, layer by layer.
        dropout: between the layers.
    """
    live = int(batch_sizes[0])
    h, c = (None if s is None else s[:, :live].to(compute).contiguous() for s in (h0, c0))
    tensors = []
    for i, group in enumerate(weights):
        tensors += [w.to(compute) for w in (*group, projections[i] if projections is not None else None) if w is not None]
    kernel = getattr(torch._VF, cell)
    # cuDNN can go back through what ran in training only; without dropout that differs in nothing else.
    settings = (weights[0][2] is not None, layers, dropout, torch.is_grad_enabled(), len(weights) == 2 * layers)
    out, *last = kernel(x.to(compute), batch_sizes, h if c is None else (h, c), tensors, *settings)
    return out.to(x.dtype), _with_idle(last[0], h0, x.dtype), None if c0 is None else _with_idle(last[1], c0, x.dtype)


def _with_idle(last: Tensor, first: Tensor, dtype: torch.dtype) -> Tensor:
    """The final states of the rows that ran, and the first states of the rows of length 0: [D, B, H]."""
    idle = first[:, last.shape[1] :]
    return torch.cat((last.to(dtype), idle.to(dtype)), 1) if idle.shape[1] else last.to(dtype)
