"""States to the words that follow them: dropout, a dense layer and the loss among a sample of the vocabulary, with all gradients, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells.dropout import factors
from tenor.cells.native import first_derivative

# States that are read at a time. With 512 an operation on two cores is over before the other core's thread is awake (cli/app.py lets threads sleep soon); with 8,192
# the scores of 600 candidates (20 MB) are in no core's cache. Tokens a second in docs/experiments.md.
CHUNK = 2048

# States and candidates are filled up to multiples of these: oneDNN prepares a bfloat16 product anew for every size, at 5 ms each, and every batch has other numbers of both.
WHOLE_STATES, WHOLE_CANDIDATES = 256, 128


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
    log_times = F.pad(times.float().log(), (0, -len(candidates) % WHOLE_CANDIDATES), value=-torch.inf)
    words = torch.cat([way.words for way in ways])
    own, own_of = torch.unique(words, return_inverse=True)
    place = torch.searchsorted(candidates, words).clamp_(max=len(candidates) - 1)
    place = torch.where(candidates[place] == words, place, -1)
    filled = torch.cat((candidates, candidates[:1].expand(len(log_times) - len(candidates))))
    rows = F.embedding(torch.cat((filled, own)), table, sparse=True)
    plan = _Plan([way.at for way in ways], own_of, log_times, place, dropped, compute, torch.is_grad_enabled())
    loss, right = _Foretell.apply(plan, states, rows, *(t for way in ways for t in (way.weight, way.bias)))  # type: ignore[no-untyped-call]
    return Predicted(loss, int(right), len(words))


class _Plan(NamedTuple):
    """What is no tensor to differentiate. M: all words, a direction after the other."""

    at: list[Tensor]
    own_of: Tensor  # [M] which of the distinct words
    log_times: Tensor  # [C], filled up with -inf
    place: Tensor  # [M] of the word among the candidates, or -1
    dropped: float
    compute: torch.dtype
    differentiated: bool  # what autograd tells inside of a function is of its inputs alone, also where nothing is recorded


class _Foretell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, states: Tensor, rows: Tensor, *dense: Tensor) -> tuple[Tensor, Tensor]:
        """rows [C + U, E]: the vectors of the candidates and of the distinct words. dense: weight and bias a direction."""
        wanted = plan.differentiated and any(ctx.needs_input_grad)
        compute, words, candidates = plan.compute, len(plan.place), len(plan.log_times)
        hidden = states.shape[1] // len(plan.at)
        cast, own = rows[:candidates].to(compute), rows[candidates:]
        gradients = [torch.zeros_like(t) for t in (states, rows, *dense)] if wanted else []
        loss, right, first = states.new_zeros(()), states.new_zeros((), dtype=torch.int64), 0
        for direction, at in enumerate(plan.at):
            columns = slice(direction * hidden, (direction + 1) * hidden)
            weight, bias = dense[2 * direction].to(compute), dense[2 * direction + 1]
            for start in range(0, len(at), CHUNK):
                here = at[start : start + CHUNK]
                part, count = slice(first + start, first + start + len(here)), len(here)
                fill = (0, -count % WHOLE_STATES)
                seen = states[F.pad(here, fill), columns]
                factor = factors(*seen.shape, share=plan.dropped, like=seen) if plan.dropped else None
                if factor is not None:
                    seen.mul_(factor)
                seen = seen.to(compute)
                said = F.linear(seen, weight).float().add_(bias)  # [n, E]
                narrow, own_of = said.to(compute), F.pad(plan.own_of[part], fill)
                vectors = own[own_of]
                scores = (narrow @ cast.t()).float().add_(plan.log_times)  # [n, C]
                loss_here, right_here, others, minus = _graded(scores, (said * vectors).sum(1), plan.place[part])
                loss += loss_here
                right += right_here
                if not wanted:
                    continue
                d_states, d_rows, d_weight, d_bias = *gradients[:2], *gradients[2 + 2 * direction : 4 + 2 * direction]
                others, minus = others.mul_(1 / words).to(compute), minus[:, None] / words
                d_said = (others @ cast).float().addcmul_(minus, vectors)
                d_rows[:candidates] += (others.t() @ narrow).float()
                d_rows[candidates:].index_add_(0, own_of, minus * said)
                d_bias += d_said.sum(0)
                d_said = d_said.to(compute)
                d_weight += (d_said.t() @ seen).float()
                d_seen = (d_said @ weight).float()
                d_states[here, columns] = (d_seen if factor is None else d_seen.mul_(factor))[:count]
            first += len(at)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(right)
        return loss / max(1, words), right

    @staticmethod
    @first_derivative("Take torch.nn.functional.cross_entropy over the whole vocabulary")
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(t * d_loss for t in ctx.saved_tensors)


def _graded(scores: Tensor, score: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How the words are foretold.

    Args:
        scores: [n, C] of the candidates; overwritten. score: [n] of the word itself. place: [M], M at most n, of the word among the candidates or -1; what is beyond M counts nothing.

    Returns:
        The losses' sum, how many words have the greatest score, and the losses' slopes at scores and score.
    """
    count = len(place)
    doubled = (place >= 0).nonzero()[:, 0]
    scores[doubled, place[doubled]] = -torch.inf
    most = scores.amax(1)
    top = torch.maximum(most, score)
    own, others = (score - top).exp_(), scores.sub_(top[:, None]).exp_()
    sums = others.sum(1).add_(own)
    parts, slopes = 1 / sums, own / sums - 1
    parts[count:], slopes[count:] = 0, 0
    return (sums.log() + top - score)[:count].sum(), (score > most)[:count].sum(), others.mul_(parts[:, None]), slopes
