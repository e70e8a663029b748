"""A chain of tags whose neighbours are judged together (Lafferty et al. 2001): its loss and its best path, on packed rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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

    def forward(self, scores: Tensor, tags: Tensor, sizes: Tensor) -> Tensor:
        """scores [N, K] of each word's tags, and the right tags [N] -> the sum over sentences of -ln p(right tags), in nats."""
        return self.all_paths(scores, sizes).sum() - self.path(scores, tags, sizes)

    def path(self, scores: Tensor, tags: Tensor, sizes: Tensor) -> Tensor:
        """The scores of one way through each sentence, summed over sentences."""
        begun = int(sizes[0])
        before = torch.arange(begun, len(tags)) - torch.repeat_interleave(sizes[:-1], sizes[1:])  # [N - B] the place of the word before
        ends = _ends(sizes)
        steps = self.after[tags[before.to(tags.device)], tags[begun:]]
        return scores.gather(1, tags[:, None]).sum() + self.first[tags[:begun]].sum() + steps.sum() + self.last[tags[ends.to(tags.device)]].sum()

    def all_paths(self, scores: Tensor, sizes: Tensor) -> Tensor:
        """-> [B] the logarithm of the sum over all ways of exp(their score): the forward algorithm."""
        steps = scores.split(sizes.tolist())
        sums, ended = self.first + steps[0], []  # [B, K] of all ways that end in a tag
        for step in steps[1:]:
            ended.append(sums[len(step) :])  # sentences without another word
            sums = step + torch.logsumexp(sums[: len(step), :, None] + self.after, 1)
        ended.append(sums)
        return torch.logsumexp(torch.cat(ended[::-1]) + self.last, 1)

    def best(self, scores: Tensor, sizes: Tensor) -> Tensor:
        """-> [N] the tags of the most probable way through each sentence (Viterbi 1967)."""
        steps = scores.split(sizes.tolist())
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


def _ends(sizes: Tensor) -> Tensor:
    """[B] packed place of each sentence's last word."""
    lengths = (sizes[:, None] > torch.arange(int(sizes[0]))).sum(0)
    starts = torch.cumsum(sizes, 0) - sizes  # [T] packed place of each step's first word
    return starts[lengths - 1] + torch.arange(len(lengths))
