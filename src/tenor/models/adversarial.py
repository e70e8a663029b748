"""Adversarial training: a text is learnt a second time with its vectors moved to where the loss grows fastest.

Miyato, Dai and Goodfellow 2017 (arXiv 1605.07725v4). Their length, 5 for texts of 400 vectors of 256 numbers of unit variance, is 0.016 of the text's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tenor.cells.places import places_of


class Twice(NamedTuple):
    """The mean of both losses, of which the first is differentiated already; what the network answered to the texts as they are."""

    loss: Tensor
    answers: Tensor


def twice(x: Tensor, sizes: Tensor, share: float, answer: Callable[[Tensor], Tensor], loss_of: Callable[[Tensor], Tensor]) -> Twice:
    """Half the loss of x and half that of x moved. One backward pass of the first gives both the weights' gradients and where to move, so the whole costs two passes, not three.

    Args:
        x: [N, E] vectors of the batch's texts, packed; with a graph behind them.
        sizes: [T] batch sizes of the packing.
        share: length of the move of each text, as a share of the length of its vectors.
        answer: vectors to answers. loss_of: answers to the mean loss.

    Returns:
        A loss to differentiate once; gradients of the first half are in the weights' `grad` already, so these must be empty before.
    """
    leaf = x.detach().requires_grad_()
    answers = answer(leaf)
    first = loss_of(answers) / 2
    first.backward()  # type: ignore[no-untyped-call]
    slope = leaf.grad
    assert slope is not None
    with torch.no_grad():
        rows = places_of(sizes).rows.to(x.device)
        length, steepness = (torch.zeros(int(sizes[0]), device=x.device).index_add_(0, rows, v.square().sum(1)).sqrt_() for v in (leaf.detach(), slope))
        move = slope * (share * length / steepness.clamp_min(1e-30))[rows, None]
    second = loss_of(answer(x + move)) / 2
    behind = (x * slope).sum()  # its gradient with respect to x is the first half's; its value is taken out again
    return Twice(second + behind - behind.detach() + first.detach(), answers.detach())
