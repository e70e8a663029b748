"""What a batch gives the training loop."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """What a batch gave: the mean loss (to differentiate), rows that were right, rows, tokens."""

    loss: Tensor
    right: int
    rows: int
    tokens: int
