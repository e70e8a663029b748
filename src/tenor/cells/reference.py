"""The specification: each cell as one step of plain torch, and the run over packed rows that every kernel must equal.

The contract of a kernel, which `run` here, `via_torch.run` and `native.run` share (one layer, all its directions):

    cell         "lstm", "gru", "rnn_tanh" or "rnn_relu"
    x            [N, I] packed rows, time-major as in PackedSequence.data, lengths descending
    batch_sizes  [T] int64 on the CPU, descending; rows from batch_sizes[0] to B have length 0; T may be 0
    h0, c0       [D, B, H] first states; c0 for the LSTM only
    weights      a tuple a direction: w_ih [G*H, I], w_hh [G*H, H], b_ih [G*H] or None, b_hh [G*H] or None; torch's gate order
    compute      format of the matrix products' operands; float64 computes all in float64, the others accumulate and keep states in float32
    mask         [D, B, H] or None: the recurrent products see h * mask, at all steps the same; the state itself is not masked
    -> out [N, D*H], h_n [D, B, H], c_n [D, B, H] or None, in the dtype of x

Direction 1 reads each row from its own last token. A row of length 0 keeps its first state. Gradients flow to x, h0, c0,
weights and biases, whichever ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
State = tuple[Tensor, Tensor]
_Step = Callable[[Tensor, Tensor, Tensor, Tensor], State]


def rnn_tanh(wx: Tensor, wh: Tensor, h: Tensor, c: Tensor) -> State:  # noqa: ARG001
    """One step (Elman 1990).

    Args (of all cells):
        wx: [B, G*H] W_ih x + b_ih.
        wh: [B, G*H] W_hh h + b_hh.
        h, c: [B, H] the states before; c is the LSTM's alone, the others hand it on.

    Returns:
        The states after, [B, H].
    """
    return torch.tanh(wx + wh), c


def rnn_relu(wx: Tensor, wh: Tensor, h: Tensor, c: Tensor) -> State:  # noqa: ARG001
    """One step, max(0, .) in the place of tanh."""
    return torch.relu(wx + wh), c


def gru(wx: Tensor, wh: Tensor, h: Tensor, c: Tensor) -> State:
    """One step (arXiv 1406.1078v1); the reset gate after the product, as in cuDNN and torch."""
    (rx, zx, nx), (rh, zh, nh) = wx.chunk(3, 1), wh.chunk(3, 1)
    r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
    n = torch.tanh(nx + r * nh)
    return (1 - z) * n + z * h, c


def lstm(wx: Tensor, wh: Tensor, h: Tensor, c: Tensor) -> State:  # noqa: ARG001
    """One step (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000)."""
    i, f, g, o = (wx + wh).chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


STEPS: dict[str, _Step] = {"lstm": lstm, "gru": gru, "rnn_tanh": rnn_tanh, "rnn_relu": rnn_relu}


def operand(x: Tensor, compute: torch.dtype) -> Tensor:
    """x as the products see it: rounded to `compute`, then float32 (or float64). The gradient takes the rounding for the identity."""
    if compute in (torch.float32, torch.float64):
        return x.to(compute)
    wide = x.float()
    return wide + (wide.to(compute).float() - wide).detach()  # exact: the difference of neighbours has no rounding error (Sterbenz)


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
    """The contract at the head of this file, a step at a time.

    Args:
        projections: [P, H] a direction: h is W_hr times what the step gives (LSTM, arXiv 1402.1128v1). Then h0, mask and out have P for H.
    """
    wide = torch.float64 if compute == torch.float64 else torch.float32
    sizes: list[int] = batch_sizes.tolist()
    ends = list(accumulate(sizes))  # [T] packed place after each step's last token
    outs, finals, cells = [], [], []
    for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
        w_h = operand(w_hh, compute).T
        wx = operand(x, compute) @ operand(w_ih, compute).T  # [N, G*H]
        wx = wx if b_ih is None else wx + b_ih.to(wide)
        h = h0[d].to(wide)  # [B, H]
        c = h[:, :0] if c0 is None else c0[d].to(wide)
        live: dict[int, Tensor] = {}
        for t in range(len(sizes)) if d == 0 else reversed(range(len(sizes))):  # backwards, a row joins at its own last token
            n = sizes[t]
            seen = h[:n] if mask is None else h[:n] * mask[d, :n].to(wide)
            wh = operand(seen, compute) @ w_h
            wh = wh if b_hh is None else wh + b_hh.to(wide)
            live[t], after = STEPS[cell](wx[ends[t] - n : ends[t]], wh, h[:n], c[:n])
            if projections is not None:
                live[t] = operand(live[t], compute) @ operand(projections[d], compute).T
            h, c = torch.cat((live[t], h[n:])), torch.cat((after, c[n:]))
        none = wx[:0, : h.shape[1]]  # joins the graph where there are no steps
        outs.append(torch.cat((none, *(live[t] for t in range(len(sizes))))))
        finals.append(h)
        cells.append(c)
    return torch.cat(outs, 1).to(x.dtype), torch.stack(finals).to(x.dtype), None if c0 is None else torch.stack(cells).to(x.dtype)
