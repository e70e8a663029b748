"""Virtual adversarial training: a text's vectors are moved where its answer suffers most, and the answer shall stay.

So a classifier learns from texts without a label too. Miyato, Dai and Goodfellow 2017 (arXiv 1605.07725v3).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tenor.cells.places import places_of

# Of the entropy of a text's answer, where it has no label, in the loss: no more than its slope needs to be known. Half of it (Sachan et al. 2019, AAAI 33) changed nothing: docs/experiments.md.
ENTROPY = 1e-6


def against(slopes: Tensor, x: Tensor, batch_sizes: Tensor, length: float) -> Tensor:
    """How each text's vectors are moved: along the slope of its loss, equally far in all texts, short or long (as in the paper).

    The loss may be measured on any scale, another for each text; a text without a slope stays.

    Args:
        slopes, x: [N, E], packed by batch_sizes.
        length: of each text's move, in root mean squares of a number of x.

    Returns:
        [N, E] without gradient
    """
    slopes, x = slopes.detach(), x.detach()
    places = places_of(batch_sizes)
    live, rows = places.live.to(x.device)[:, :, None], places.rows.to(x.device)
    greatest = places.pad(slopes.abs().amax(1, keepdim=True)).masked_fill(~live, 0).amax(0)  # [B, 1]; first by this, or squares of small ones are 0
    scaled = slopes / greatest.clamp_min(torch.finfo(x.dtype).tiny)[rows]
    norms = places.pad(scaled.square().sum(1, keepdim=True)).masked_fill(~live, 0).sum(0).sqrt()
    return scaled * (length * x.square().mean().sqrt() / norms.clamp_min(1e-6))[rows]


def entropy(logits: Tensor) -> Tensor:
    """logits [B, 1] (two labels) or [B, labels] -> [B] nats"""
    return _cross(logits, logits)


def divergence(logits: Tensor, moved: Tensor) -> Tensor:
    """Of the answers after the move from those before, which are taken as they are: [B] nats (Kullback-Leibler)."""
    said = logits.detach()
    return _cross(said, moved) - _cross(said, said)


def _cross(logits: Tensor, other: Tensor) -> Tensor:
    """Cross-entropy of the second answers under the first: [B] nats"""
    if logits.shape[1] == 1:  # both signs alike: a sigmoid of 20 is 1, and has no slope
        return -(torch.sigmoid(logits) * F.logsigmoid(other) + torch.sigmoid(-logits) * F.logsigmoid(-other))[:, 0]
    return F.cross_entropy(other, torch.softmax(logits, 1), reduction="none")
