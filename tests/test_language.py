"""The language model: its neighbours, its loss against a plain softmax, and that neither direction sees what it foretells."""

from collections import Counter
from math import inf, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from tenor.config import ModelConfig
from tenor.data.batches import Batch
from tenor.errors import TenorError
from tenor.models import language
from tenor.models.language import LanguageModel, neighbours
from tenor.models.sampled_softmax import sampled_softmax


def plain_loss(x, words, drawn, table):
    """The definition, one row and one candidate at a time."""
    losses = []
    for row, word in zip(x, words.tolist(), strict=True):
        others = [d for d in drawn.tolist() if d != word]
        scores = torch.stack([row @ table[word], *(row @ table[d] for d in others)])
        losses.append(torch.logsumexp(scores, 0) - scores[0])
    return torch.stack(losses).mean()


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 700), vocab=st.integers(2, 40), draws=st.integers(1, 60), seed=st.integers(0, 99))
def test_sampled_softmax_is_its_definition(rows, vocab, draws, seed):
    torch.manual_seed(seed)
    rows = rows if rows > 500 else rows % 20 + 1  # some of more than one chunk
    x, table = torch.randn(rows, 5, requires_grad=True), torch.randn(vocab, 5, requires_grad=True)
    words, drawn = torch.randint(vocab, (rows,)), torch.randint(vocab, (draws,))
    got = sampled_softmax(x, words, drawn, table)
    got.loss.mul(2).backward()
    x2, table2 = x.detach().double().requires_grad_(), table.detach().double().requires_grad_()
    want = plain_loss(x2, words, drawn, table2)
    want.mul(2).backward()
    assert float(got.loss.detach()) == pytest.approx(float(want.detach()), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(x.grad.double(), x2.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(table.grad.to_dense().double(), table2.grad, rtol=1e-4, atol=1e-5)
    scores, times = (x2 @ table2.T).tolist(), Counter(drawn.tolist())
    assert got.right == sum(row[w] > max((row[c] + log(n) for c, n in times.items() if c != w), default=-inf) for row, w in zip(scores, words.tolist(), strict=True))


def test_bfloat16_comes_near():
    torch.manual_seed(0)
    x, table, words, drawn = torch.randn(90, 32, requires_grad=True), torch.randn(50, 32, requires_grad=True), torch.randint(50, (90,)), torch.randint(50, (40,))
    found = {}
    for compute in (torch.float32, torch.bfloat16):
        loss = sampled_softmax(x, words, drawn, table, compute).loss
        found[compute] = (loss.detach(), *torch.autograd.grad(loss, (x, table)))
    for exact, near in zip(*found.values(), strict=True):
        exact, near = exact.to_dense(), near.to_dense()
        assert float((near - exact).norm() / exact.norm()) < 0.02


def test_neighbours_are_of_one_row():
    rows = [torch.arange(10 * i, 10 * i + n) for i, n in enumerate((5, 4, 4, 1))]
    packed = pack_sequence(rows)
    earlier, later = neighbours(packed.batch_sizes)
    assert sorted(zip(packed.data[earlier].tolist(), packed.data[later].tolist(), strict=True)) == [(a, a + 1) for row in rows for a in row[:-1].tolist()]


def batch_of(*rows):
    return Batch(pack_sequence([torch.tensor(r) for r in rows]), np.arange(len(rows)))


@pytest.mark.parametrize("two", [True, False])
def test_no_direction_has_read_what_it_foretells(two, monkeypatch):
    """What foretells a word depends on other words of the row (each stands once), not on this one."""
    asked = []

    def watch(x, words, *rest):
        asked.append((x, words))
        return sampled_softmax(x, words, *rest)

    monkeypatch.setattr(language, "sampled_softmax", watch)
    torch.manual_seed(0)
    model = LanguageModel(20, ModelConfig(hidden=6, embedding=5, bidirectional=two)).eval()
    model.scores(batch_of([3, 4, 5, 6, 7], [8, 9, 10], [11]), torch.tensor([12]))
    assert [sorted(words.tolist()) for _, words in asked] == [[4, 5, 6, 7, 9, 10], [3, 4, 5, 6, 8, 9]][: 1 + two]
    for x, words in asked:
        for said, word in zip(x, words.tolist(), strict=True):
            read = torch.autograd.grad(said.sum(), model.encoder.embedding.weight, retain_graph=True)[0].to_dense().abs().sum(1)
            assert read[word] == 0 and read.sum() > 0


def test_it_learns_which_word_follows():
    torch.manual_seed(0)
    model = LanguageModel(12, ModelConfig(hidden=16, embedding=8, dropout=0.0))
    optimiser = torch.optim.Adam([p for n, p in model.named_parameters() if "embedding" not in n], 0.02)
    sparse = torch.optim.SparseAdam([model.encoder.embedding.weight], 0.02)
    batch, drawn = batch_of([2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3], [8, 9]), torch.arange(2, 12)
    model.train()
    first = model.scores(batch, drawn)
    assert (first.rows, first.tokens) == (20, 13)
    for _ in range(150):
        scores = model.scores(batch, drawn)
        model.zero_grad()
        scores.loss.backward()
        optimiser.step()
        sparse.step()
    assert float(scores.loss.detach()) < 0.3 < 1.5 < float(first.loss.detach())
    assert scores.right > 15  # the beginnings 2 and 7 cannot be told from the middle of the other row


def test_unknown_words_are_not_foretold():
    model = LanguageModel(12, ModelConfig(hidden=4, embedding=3))
    assert model.scores(batch_of([2, 1, 3, 4]), torch.tensor([5])).rows == 2 + 2


def test_two_layers_of_two_directions_are_refused():
    with pytest.raises(TenorError, match="Use --layers 1, or --one-way"):
        LanguageModel(12, ModelConfig(layers=2))
    LanguageModel(12, ModelConfig(layers=2, bidirectional=False))
