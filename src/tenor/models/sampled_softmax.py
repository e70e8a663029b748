"""The loss of predicting a word among a sample of the vocabulary, its gradients made in the same pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells.native import first_derivative

# Rows whose scores are made together: 512 rows of 1,500 candidates are 3 MB, which stay in the caches until their gradients are made.
CHUNK = 512


class Predicted(NamedTuple):
    """The mean loss (to differentiate), and how many words got a greater share than every candidate."""

    loss: Tensor
    right: int


def sampled_softmax(x: Tensor, words: Tensor, drawn: Tensor, table: Tensor, compute: torch.dtype = torch.float32) -> Predicted:
    """Mean cross entropy of each word against words that were drawn (Jean et al. 2015, arXiv 1412.2007v2).

    The model is p(w | x) = p(w) exp(x e_w) / Z, with p(w) the frequency of w, from which `drawn` is drawn, with replacement. The
    correction for unequal chances (Bengio and Senecal 2008) and log p(w) then leave the logarithm of how often a
    candidate was drawn. Where a candidate is the word itself, it is left out.

    Args:
        x: [N, E] float32, what is known.
        words: [N] int64, what follows.
        drawn: [S] int64 ids.
        table: [V, E], the words' vectors. Its gradient is sparse.
        compute: format of the products; sums are float32.
    """
    candidates, times = torch.unique(drawn, return_counts=True)  # [C] ascending
    own, own_of = torch.unique(words, return_inverse=True)
    place = torch.searchsorted(candidates, words).clamp_(max=len(candidates) - 1)
    place = torch.where(candidates[place] == words, place, -1)
    rows = F.embedding(torch.cat((candidates, own)), table, sparse=True)
    loss, right = _SampledSoftmax.apply(x, rows[: len(candidates)], rows[len(candidates) :], own_of, times.float().log(), place, compute)  # type: ignore[no-untyped-call]
    return Predicted(loss, int(right))


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, candidates: Tensor, own: Tensor, own_of: Tensor, log_times: Tensor, place: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
        """candidates [C, E], own [U, E] the vectors of the distinct words and own_of [N] which of them; place [N] of the word among the candidates, or -1."""
        wanted = any(ctx.needs_input_grad)
        cast = candidates.to(compute)
        d_x, d_candidates, d_own = torch.empty_like(x), torch.zeros_like(candidates), torch.zeros_like(own)
        total, right = x.new_zeros(()), torch.zeros((), dtype=torch.int64)
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            here, vectors, inside = x[part], own[own_of[part]], place[part]
            scores = (here.to(compute) @ cast.t()).float().add_(log_times)  # [n, C]
            doubled = (inside >= 0).nonzero()[:, 0]
            scores[doubled, inside[doubled]] = -torch.inf
            score = (here * vectors).sum(1)
            most = scores.amax(1)
            right += (score > most).sum()
            top = torch.maximum(most, score)
            share, others = (score - top).exp_(), scores.sub_(top[:, None]).exp_()
            sums = others.sum(1).add_(share)
            total += (sums.log() + top - score).sum()
            if wanted:
                others = others.mul_((1 / (sums * len(x)))[:, None]).to(compute)
                minus = (share / sums - 1) / len(x)
                d_x[part] = (others @ cast).float().addcmul_(minus[:, None], vectors)
                d_candidates += (others.t() @ here.to(compute)).float()
                d_own.index_add_(0, own_of[part], minus[:, None] * here)
        ctx.save_for_backward(d_x, d_candidates, d_own)
        ctx.mark_non_differentiable(right)
        return total / max(1, len(x)), right

    @staticmethod
    @first_derivative("Take torch.nn.functional.cross_entropy over the whole vocabulary")
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        d_x, d_candidates, d_own = ctx.saved_tensors
        return d_x * d_loss, d_candidates * d_loss, d_own * d_loss, None, None, None, None
