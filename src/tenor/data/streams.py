"""One long row of ids as streams side by side, read in segments: what truncated backpropagation through time walks along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tenor.data.text import UNK

IGNORED = -1  # a target that does not count
RUN_IN = 256  # tokens that a stream reads before what counts, so that cutting a text into streams costs its measure nothing


class Segment(NamedTuple):
    """inputs, targets: [T, B] int64; the target of a token is the one after it. fresh: the streams begin here, from zero states."""

    inputs: Tensor
    targets: Tensor
    fresh: bool


@dataclass(frozen=True)
class Streams:
    """Ids to learn from: `batch` streams in segments of `length`. The row is a ring, and an epoch begins anywhere on it,
    so that the cuts lie elsewhere each time.

    Args:
        ids: [N]
        batch, length: as wished; a short row has fewer streams, and shorter ones.
        seed: of the beginnings.
    """

    ids: np.ndarray
    batch: int
    length: int
    seed: int

    @classmethod
    def of(cls, ids: np.ndarray, batch: int, length: int, seed: int) -> Streams:
        length = max(1, min(length, len(ids) // 2))
        return cls(ids, max(1, min(batch, len(ids) // length)), length, seed)

    def segments(self) -> int:
        """How many a pass has; less than a segment a stream is left out, each time elsewhere."""
        return len(self.ids) // (self.batch * self.length)

    def segment(self, epoch: int, number: int) -> Segment:
        begin = int(np.random.default_rng([self.seed, epoch]).integers(len(self.ids)))
        first = begin + np.arange(self.batch) * (self.segments() * self.length) + number * self.length  # [B]
        places = (first + np.arange(self.length + 1)[:, None]) % len(self.ids)  # [T + 1, B]
        ids = torch.from_numpy(self.ids[places].astype(np.int64))
        return Segment(ids[:-1], counted(ids[1:]), number == 0)


def once(ids: np.ndarray, batch: int, length: int) -> Iterator[Segment]:
    """Every token but the first as a target exactly once, in at most `batch` streams; each but the first has a run-in that does not count."""
    total = len(ids) - 1
    if total < 1:
        return
    batch = max(1, min(batch, total // (2 * RUN_IN)))
    size = -(-(total + (batch - 1) * RUN_IN) // batch)  # of a stream
    first = np.arange(batch) * (size - RUN_IN)
    for begin in range(0, size, length):
        within = np.arange(begin, min(begin + length, size))[:, None]
        places = first + within  # [T, B]
        counts = (places < total) & ((within >= RUN_IN) | (first == 0))
        inputs, targets = (torch.from_numpy(ids[np.minimum(places + after, total)].astype(np.int64)) for after in (0, 1))
        yield Segment(inputs, counted(targets).where(torch.from_numpy(counts), torch.tensor(IGNORED)), begin == 0)


def counted(targets: Tensor) -> Tensor:
    """<unk> stands for any rare character, so foretelling it would be too easy."""
    return targets.where(targets != UNK, torch.tensor(IGNORED))
