"""The loss of foretelling tokens among a whole vocabulary, its gradients made in the same pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells.native import first_derivative

# Rows whose scores are made together: 128 rows of 6,000 tokens are 3 MB, which stay near the core until their gradients are made. torch's cross_entropy on 2,000 rows of them
# takes six passes over 48 MB, in fresh memory each time: a third of a training step of a model that translates.
CHUNK = 128


class Foretold(NamedTuple):
    """The mean loss (to differentiate), and how many tokens got the greatest score."""

    loss: Tensor
    right: int


def token_loss(x: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, smoothing: float = 0.0, compute: torch.dtype = torch.float32) -> Foretold:
    """torch.nn.functional.cross_entropy(x @ table.T + bias, wanted, label_smoothing=smoothing).

    Args:
        x: [N, E] float32, what is known.
        table: [V, E], the tokens' vectors. bias: [V]
        wanted: [N] int64, the tokens.
        smoothing: share of each answer that is spread over all tokens.
        compute: format of the products and of the scores that they give; sums are float32.
    """
    loss, right = _TokenLoss.apply(x, table, bias, wanted, smoothing, compute, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return Foretold(loss, int(right))


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, bias: Tensor, wanted: Tensor, smoothing: float, compute: torch.dtype, recorded: bool) -> tuple[Tensor, Tensor]:
        rows, even = max(1, len(x)), smoothing / len(table)
        differentiated = recorded and any(ctx.needs_input_grad)  # which tells of the inputs alone: a parameter wants a gradient also where nothing is recorded
        # Whole chunks: oneDNN prepares a product anew for every number of rows, at 6 ms each, and a batch hardly ever has the tokens of another.
        here, vectors = F.pad(x, (0, 0, 0, -len(x) % CHUNK)).to(compute), table.to(compute)
        d_scores = here.new_empty(len(here) if differentiated else 0, len(table))
        d_scores[len(x) :] = 0
        total, right = x.new_zeros(()), torch.zeros((), dtype=torch.int64, device=x.device)
        d_bias = torch.zeros_like(bias)
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            tokens = wanted[part, None]  # [n, 1]
            scores = (here[part] @ vectors.t())[: len(tokens)] + bias  # [n, V] float32
            most, own = scores.amax(1), scores.gather(1, tokens)[:, 0]
            right += (own >= most).sum()
            shares = scores.sub_(most[:, None]).exp_()
            sums = shares.sum(1)
            total += ((sums.log() + most) - (1 - smoothing) * own).sum()
            if differentiated:
                shares.mul_((1 / (sums * rows))[:, None])
                shares.scatter_add_(1, tokens, shares.new_full((len(own), 1), (smoothing - 1) / rows))
                d_bias += shares.sum(0)
                d_scores[start : start + len(tokens)] = shares
        # What the even share of each answer adds is the same for every token, so it needs no pass over the scores.
        all_x, all_vectors = x.sum(0), table.sum(0)
        total -= even * (all_x @ all_vectors + len(x) * bias.sum())
        if differentiated:
            d_x = (d_scores @ vectors)[: len(x)].float().sub_(all_vectors, alpha=even / rows)
            d_table = (d_scores.t() @ here).float().sub_(all_x, alpha=even / rows)
            ctx.save_for_backward(d_x, d_table, d_bias.sub_(even * len(x) / rows))
        ctx.mark_non_differentiable(right)
        return total / rows, right

    @staticmethod
    @first_derivative("Take torch.nn.functional.cross_entropy")
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return (*(d * d_loss for d in ctx.saved_tensors), None, None, None, None)
