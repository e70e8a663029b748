"""Rows to packed batches: bucketed by length, time-major, no padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

from tenor.data.text import PAD, UNK, Ragged

# Rows are shuffled, then sorted by length within pools of so many batches: batches of nearly equal length, still drawn
# from all over. 100 batches of 32 leave 1 % of padding to the kernels that need it (film reviews up to 512 tokens).
POOL = 100


@dataclass(frozen=True)
class Batch:
    """Rows side by side, longest first.

    `tokens` is torch's PackedSequence: data [N] int64 ids in time-major order, batch_sizes [T]; `rows[b]` is the index
    of the row at place b, so a result at place b belongs to row `rows[b]`.
    """

    tokens: PackedSequence
    rows: np.ndarray


def pack(ids: Ragged, rows: np.ndarray, pad_to: int = 0) -> Batch:
    """Put rows into one packed batch.

    An empty row is read as one <unk>. With `pad_to`, shorter rows get <pad> in front up to that length, and the
    network reads it like any token (what Keras' pad_sequences does).
    """
    lengths = np.maximum(ids.lengths[rows], 1)
    if pad_to:
        lengths = np.full_like(lengths, pad_to)
    order = np.argsort(-lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    longest = int(lengths[0])
    matrix = np.full((longest, len(rows)), PAD, np.int64)  # [T, B]
    for place, row in enumerate(rows):
        tokens = ids[row]
        start = pad_to - len(tokens) if pad_to else 0
        matrix[start : start + len(tokens), place] = tokens
        if len(tokens) == 0:
            matrix[lengths[place] - 1, place] = UNK
    live = np.arange(longest)[:, None] < lengths[None, :]
    return Batch(PackedSequence(torch.from_numpy(matrix[live]), torch.from_numpy(live.sum(1))), rows)


def shuffled(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Row indexes of each batch of an epoch; the same arguments give the same batches."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def by_length(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Row indexes of each batch, longest rows first: for evaluation, where order does not matter."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
