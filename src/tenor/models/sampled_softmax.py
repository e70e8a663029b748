"""States to the words that follow them: dropout, a dense layer and the loss among a sample of the vocabulary, with all gradients, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells.dropout import kept
from tenor.cells.native import first_derivative

# States that are read at a time: fewer, and on two cores a training waits more than it works (each operation on half of them is shorter than waking a thread; 512: 30,000 tokens a second of LSTM 256, 2,048: 38,000, 8,192: 36,000; on one core 31,000, 32,000, 27,000), for on at most 4 cores threads soon sleep (cli/app.py).
CHUNK = 2048


class Way(NamedTuple):
    """What one direction foretells: for states `at` [M] int64, none twice, the words that follow, [M] int64 ids; and its dense layer, [E, H] and [E]."""

    at: Tensor
    words: Tensor
    weight: Tensor
    bias: Tensor


class Predicted(NamedTuple):
    """The mean loss of all directions' words (to differentiate), how many got a greater share than every candidate, and of how many."""

    loss: Tensor
    right: int
    words: int


def foretell(states: Tensor, ways: Sequence[Way], drawn: Tensor, table: Tensor, dropped: float = 0.0, compute: torch.dtype = torch.float32) -> Predicted:
    """Mean cross entropy of each word against words that were drawn (Jean et al. 2015, arXiv 1412.2007v2).

    The model is p(w | x) = p(w) exp(x e_w) / Z, with p(w) the frequency of w, from which `drawn` is drawn, with replacement. The
    correction for unequal chances (Bengio and Senecal 2008) and log p(w) then leave the logarithm of how often a
    candidate was drawn. Where a candidate is the word itself, it is left out.

    Args:
        states: [N, D * H] float32, a direction's numbers side by side.
        ways: one for each of the D directions.
        drawn: [S] int64 ids.
        table: [V, E], the words' vectors. Its gradient is sparse.
        dropped: share of the states' numbers that become 0 (see dropout).
        compute: format of the products; sums are float32.
    """
    candidates, times = torch.unique(drawn, return_counts=True)  # [C] ascending
    words = torch.cat([way.words for way in ways])
    own, own_of = torch.unique(words, return_inverse=True)
    place = torch.searchsorted(candidates, words).clamp_(max=len(candidates) - 1)
    place = torch.where(candidates[place] == words, place, -1)
    rows = F.embedding(torch.cat((candidates, own)), table, sparse=True)
    inside = _Inside([way.at for way in ways], own_of, times.float().log(), place, dropped, compute)
    loss, right = _Foretell.apply(inside, states, rows, *(t for way in ways for t in (way.weight, way.bias)))  # type: ignore[no-untyped-call]
    return Predicted(loss, int(right), len(words))


class _Inside(NamedTuple):
    """What is not differentiated. M: all words, a direction after the other."""

    at: list[Tensor]
    own_of: Tensor  # [M] which of the distinct words
    log_times: Tensor  # [C]
    place: Tensor  # [M] of the word among the candidates, or -1
    dropped: float
    compute: torch.dtype


class _Foretell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inside: _Inside, states: Tensor, rows: Tensor, *dense: Tensor) -> tuple[Tensor, Tensor]:
        """rows [C + U, E]: the vectors of the candidates and of the distinct words. dense: weight and bias a direction."""
        wanted, compute, total = any(ctx.needs_input_grad), inside.compute, len(inside.place)
        candidates = len(inside.log_times)
        cast, own = rows[:candidates].to(compute), rows[candidates:]
        d_states, d_rows, d_dense = torch.zeros_like(states) if wanted else states, torch.zeros_like(rows), [torch.zeros_like(t) for t in dense]
        loss, right, first = states.new_zeros(()), states.new_zeros((), dtype=torch.int64), 0
        hidden = states.shape[1] // len(inside.at)
        for way, at in enumerate(inside.at):
            columns = slice(way * hidden, (way + 1) * hidden)
            mine, d_mine, bias, d_weight, d_bias = states[:, columns], d_states[:, columns], dense[2 * way + 1], d_dense[2 * way], d_dense[2 * way + 1]
            weight = dense[2 * way].to(compute)
            for start in range(0, len(at), CHUNK):
                here, part = at[start : start + CHUNK], slice(first + start, first + min(start + CHUNK, len(at)))
                live, scale = kept(len(here), hidden, share=inside.dropped, device=states.device) if inside.dropped else (None, 1.0)
                seen = mine[here]
                if live is not None:
                    seen.mul_(live).mul_(scale)
                seen = seen.to(compute)
                said = F.linear(seen, weight).float().add_(bias)  # [n, E]
                vectors, own_of = own[inside.own_of[part]], inside.own_of[part]
                part_loss, part_right, others, minus = _graded(said, cast, vectors, inside.log_times, inside.place[part])
                loss += part_loss
                right += part_right
                if not wanted:
                    continue
                others, minus = others.mul_(1 / total).to(compute), minus[:, None] / total
                d_said = (others @ cast).float().addcmul_(minus, vectors)
                d_rows[:candidates] += (others.t() @ said.to(compute)).float()
                d_rows[candidates:].index_add_(0, own_of, minus * said)
                d_bias += d_said.sum(0)
                narrow = d_said.to(compute)
                d_weight += (narrow.t() @ seen).float()
                d_seen = (narrow @ weight).float()
                d_mine[here] = d_seen if live is None else d_seen.mul_(live).mul_(scale)
            first += len(at)
        ctx.save_for_backward(d_states, d_rows, *d_dense)
        ctx.mark_non_differentiable(right)
        return loss / max(1, total), right

    @staticmethod
    @first_derivative("Take torch.nn.functional.cross_entropy over the whole vocabulary")
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if d_loss == 1:  # as a training asks for it: nothing to multiply
            return None, *ctx.saved_tensors
        return None, *(t * d_loss for t in ctx.saved_tensors)


def _graded(said: Tensor, cast: Tensor, vectors: Tensor, log_times: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """-> the losses' sum, how many words have the greatest score, and the losses' slopes at the scores of the candidates [n, C] and of the words [n]."""
    scores = (said.to(cast.dtype) @ cast.t()).float().add_(log_times)  # [n, C]
    doubled = (place >= 0).nonzero()[:, 0]
    scores[doubled, place[doubled]] = -torch.inf
    score = (said * vectors).sum(1)
    most = scores.amax(1)
    top = torch.maximum(most, score)
    share, others = (score - top).exp_(), scores.sub_(top[:, None]).exp_()
    sums = others.sum(1).add_(share)
    return (sums.log() + top - score).sum(), (score > most).sum(), others.mul_((1 / sums)[:, None]), share / sums - 1
