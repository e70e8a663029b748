"""pack() against torch's own pack_sequence on sorted rows."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from tenor.data.batches import POOL, by_length, pack, shuffled
from tenor.data.text import PAD, UNK, Ragged

ROWS = st.lists(st.lists(st.integers(2, 99), max_size=8), min_size=1, max_size=7)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array([*chain(*rows)], np.int32), np.cumsum([0, *map(len, rows)]))


@settings(max_examples=200)
@given(rows=ROWS, pad=st.booleans(), data=st.data())
def test_packs_as_torch_does(rows, pad, data):
    """An empty row is one <unk>; with pad_to, <pad> comes in front."""
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9))
    batch = pack(ragged(rows), np.array(chosen), pad_to=8 if pad else 0)
    assert sorted(batch.rows) == sorted(chosen)
    read = [rows[i] or [UNK] for i in batch.rows]
    if pad:
        read = [[PAD] * (8 - len(r)) + r for r in read]
        assert batch.rows.tolist() == chosen
    expected = pack_sequence([torch.tensor(r) for r in read])  # itself refuses rows that are not longest first
    assert batch.tokens.data.dtype == torch.int64
    assert torch.equal(batch.tokens.data, expected.data) and torch.equal(batch.tokens.batch_sizes, expected.batch_sizes)


LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=400).map(np.array)


@given(lengths=LENGTHS, size=st.integers(1, 5), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_an_epoch_has_every_row_once_and_the_same_arguments_the_same_batches(lengths, size, seed, epoch):
    batches = shuffled(lengths, size, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert sum(len(b) < size for b in batches) <= 1 and max(map(len, batches)) <= size
    assert [b.tolist() for b in shuffled(lengths, size, seed, epoch)] == [b.tolist() for b in batches]


def test_epochs_and_seeds_differ_and_batches_come_in_no_order_of_length():
    lengths = np.random.default_rng(0).integers(1, 400, 2000)
    plans = [np.concatenate(shuffled(lengths, 32, seed, epoch)).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({tuple(p) for p in plans}) == 4
    longest = np.array([lengths[b].max() for b in shuffled(lengths, 32, 0, 0)])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5


@pytest.mark.parametrize("rows", [POOL * 16, POOL * 16 * 3])
def test_rows_of_a_batch_are_nearly_equally_long(rows):
    lengths = np.random.default_rng(0).integers(1, 400, rows)
    spread = [np.ptp(lengths[b]) for b in shuffled(lengths, 16, 0, 0)]
    assert np.mean(spread) < 8  # a hundredth of 400 and a bit; at random it is about 350
    assert all(np.ptp(lengths[b]) <= 8 for b in by_length(lengths, 16))


@given(lengths=LENGTHS, size=st.integers(1, 5))
def test_for_evaluation_the_longest_come_first(lengths, size):
    batches = by_length(lengths, size)
    order = np.concatenate(batches)
    assert sorted(order) == list(range(len(lengths))) and (np.diff(lengths[order]) <= 0).all()
    assert all(len(b) == size for b in batches[:-1])
