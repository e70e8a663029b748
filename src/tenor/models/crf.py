"""A chain of tags whose neighbours are judged together (Lafferty et al. 2001): its loss and its best path, on packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenor.cells.native import first_derivative

_WIDE = 40.0  # float32 has e^-87 to e^88, float64 e^-708 to e^709: beyond this a step's exponential, and its product with a word's, are taken in float64


class Crf(nn.Module):
    """Scores of a tag at a sentence's first word, of one after another, and at its last word.

    Sentences are packed: time-major, the longest first, as in torch's PackedSequence. So the rows that live at a step are the first ones,
    and nothing is padded or masked. N words, B sentences, T steps, K tags; `sizes` [T] are the batch sizes, on the CPU.
    """

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(tags))
        self.after = nn.Parameter(torch.zeros(tags, tags))  # [from, to]
        self.last = nn.Parameter(torch.zeros(tags))

    @classmethod
    def mean(cls, chains: Sequence[Crf]) -> Crf:
        """Whose score of a way is the mean of what these give it."""
        made = cls(len(chains[0].first)).to(chains[0].first)
        made.load_state_dict({name: torch.stack([getattr(chain, name).detach() for chain in chains]).mean(0) for name in made.state_dict()})
        return made

    def forward(self, scores: Tensor, tags: Tensor, sizes: Tensor) -> Tensor:
        """scores [N, K] of each word's tags, and the right tags [N] -> the sum over sentences of -ln p(right tags), in nats."""
        return self.all_ways(scores, sizes) - self.way(scores, tags, sizes)

    def way(self, scores: Tensor, tags: Tensor, sizes: Tensor) -> Tensor:
        """The score of one way through each sentence, summed over sentences."""
        begun, before, ends = _places(sizes, tags.device)
        steps = self.after[tags[before], tags[begun:]]
        return scores.gather(1, tags[:, None]).sum() + self.first[tags[:begun]].sum() + steps.sum() + self.last[tags[ends]].sum()

    def all_ways(self, scores: Tensor, sizes: Tensor) -> Tensor:
        """The logarithm of the sum over all ways of exp(their score), summed over sentences."""
        given = [scores, self.first, self.after, self.last]
        if max(float(x.detach().abs().max()) for x in given[1:]) > _WIDE:
            given = [x.double() for x in given]
        total: Tensor = _AllWays.apply(*given, sizes)  # type: ignore[no-untyped-call]
        return total.to(scores.dtype)

    def best(self, scores: Tensor, sizes: Tensor) -> Tensor:
        """-> [N] the tags of the most probable way through each sentence (Viterbi 1967)."""
        steps = torch.split(scores, sizes.tolist())
        greatest, came = [self.first + steps[0]], []  # [n, K] the best way that ends in a tag; [n, K] the tag before it
        for step in steps[1:]:
            score, tag = (greatest[-1][: len(step), :, None] + self.after).max(1)
            came.append(tag)
            greatest.append(step + score)
        found, tags = [], scores.new_empty(0, dtype=torch.long)
        for number in reversed(range(len(steps))):
            ending = (greatest[number][len(tags) :] + self.last).argmax(1)
            tags = torch.cat((tags, ending))
            found.append(tags)
            if number:
                tags = came[number - 1].gather(1, tags[:, None])[:, 0]
        return torch.cat(found[::-1])


class _AllWays(torch.autograd.Function):
    """The forward and the backward algorithm (Rabiner 1989), each step scaled to a sum of 1 whose logarithm is kept: a product of matrices a
    step; logarithms of sums under autograd took twice as long. The gradient is what the tags' and the pairs' probabilities are."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, first: Tensor, after: Tensor, last: Tensor, sizes: Tensor) -> Tensor:
        greatest, after, last = scores.amax(1, keepdim=True), after.exp(), last.exp()
        here = (scores - greatest).exp()  # [N, K]
        ways: list[Tensor] = []
        sums: list[Tensor] = []
        for number, step in enumerate(torch.split(here, sizes.tolist())):
            way = step * (ways[-1][: len(step)] @ after if number else first.exp())
            sums.append(way.sum(1, keepdim=True))
            ways.append(way / sums[-1])
        forth, scale = torch.cat(ways), torch.cat(sums)
        _, _, ends = _places(sizes, scores.device)
        end = forth[ends] @ last  # [B]
        ctx.save_for_backward(here / scale, forth, end, after, last, sizes)
        return (scale.log() + greatest).sum() + end.log().sum()

    @staticmethod
    @first_derivative("Leave the chain out")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        here, forth, end, after, last, sizes = ctx.saved_tensors
        begun, before, ends = _places(sizes, forth.device)
        ending = last / end[:, None]  # [B, K]
        back: list[Tensor] = []  # of each step [n, K], the last one first: what is still to come
        coming, turned = ending[:0], after.T
        for step in reversed(torch.split(here, sizes.tolist())):
            back.append(torch.cat((coming, ending[len(coming) : len(step)])))
            coming = (step * back[-1]) @ turned
        still = torch.cat(back[::-1])
        tags = forth * still  # [N, K] p(tag)
        pairs = after * (forth[before].T @ (here * still)[begun:])
        return tags * grads[0], tags[:begun].sum(0) * grads[0], pairs * grads[0], tags[ends].sum(0) * grads[0], None


def _places(sizes: Tensor, device: torch.device) -> tuple[int, Tensor, Tensor]:
    """B; packed places of the words before the others [N - B]; of each sentence's last word [B]."""
    begun, words = int(sizes[0]), int(sizes.sum())
    before = torch.arange(begun, words) - torch.repeat_interleave(sizes[:-1], sizes[1:])
    starts = torch.cumsum(sizes, 0) - sizes  # [T] packed place of each step's first word
    lengths = (sizes[:, None] > torch.arange(begun)).sum(0)
    ends = starts[lengths - 1] + torch.arange(begun)
    return begun, before.to(device), ends.to(device)
