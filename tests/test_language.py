"""The language model: its neighbours, its loss against a plain softmax, and that neither direction sees what it foretells."""

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
from tenor.models.sampled_softmax import Way, foretell


def plain_loss(states, ways, drawn, table):
    """The definition, one word and one candidate at a time. -> its mean loss, and how many words have the greatest score."""
    losses, right = [], 0
    for way, mine in zip(ways, states.chunk(len(ways), 1), strict=True):
        for at, word in zip(way.at.tolist(), way.words.tolist(), strict=True):
            said = way.weight @ mine[at] + way.bias
            others = [d for d in drawn.tolist() if d != word]
            scores = torch.stack([said @ table[word], *(said @ table[d] for d in others)])
            losses.append(torch.logsumexp(scores, 0) - scores[0])
            one = scores.detach().tolist()
            right += one[0] > max((score + log(others.count(d)) for d, score in zip(others, one[1:], strict=True)), default=-inf)
    return torch.stack(losses).mean(), right


def of_random(rows, vocab, draws, seed, hidden=4, width=5, directions=2):
    """States, some of which foretell nothing; ways; drawn words; a table."""
    g = torch.Generator().manual_seed(seed)
    states, table = torch.randn(rows, directions * hidden, generator=g, requires_grad=True), torch.randn(vocab, width, generator=g, requires_grad=True)
    ways = []
    for _ in range(directions):
        at = torch.randperm(rows, generator=g)[: max(1, rows - int(torch.randint(3, (), generator=g)))]
        dense = [torch.randn(*shape, generator=g, requires_grad=True) for shape in ((width, hidden), (width,))]
        ways.append(Way(at, torch.randint(vocab, (len(at),), generator=g), *dense))
    return states, ways, torch.randint(vocab, (draws,), generator=g), table


def leaves(states, ways, table):
    return [states, table, *(t for way in ways for t in (way.weight, way.bias))]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 700), vocab=st.integers(2, 40), draws=st.integers(1, 60), directions=st.integers(1, 2), seed=st.integers(0, 99))
def test_sampled_softmax_is_its_definition(rows, vocab, draws, directions, seed):
    rows = rows if rows > 500 else rows % 20 + 1  # some of more than one chunk
    states, ways, drawn, table = of_random(rows, vocab, draws, seed, directions=directions)
    got = foretell(states, ways, drawn, table)
    found = torch.autograd.grad(got.loss * 2, leaves(states, ways, table))
    wide = states.detach().double().requires_grad_(), [Way(w.at, w.words, w.weight.detach().double().requires_grad_(), w.bias.detach().double().requires_grad_()) for w in ways], table.detach().double().requires_grad_()
    want, right = plain_loss(wide[0], wide[1], drawn, wide[2])
    assert float(got.loss.detach()) == pytest.approx(float(want.detach()), rel=1e-5, abs=1e-6)
    assert (got.right, got.words) == (right, sum(len(w.words) for w in ways))
    for one, exact in zip(found, torch.autograd.grad(want * 2, leaves(*wide)), strict=True):
        torch.testing.assert_close(one.to_dense().double(), exact, rtol=1e-4, atol=1e-5)


def test_what_is_dropped_has_no_part_in_it():
    """A share of the states' numbers counts nothing and gets no gradient; the loss is that of the others, scaled."""
    states, ways, drawn, table = of_random(700, 9, 20, 0, hidden=30)
    torch.manual_seed(3)
    got = foretell(states, ways, drawn, table, 0.25)
    (d_states,) = torch.autograd.grad(got.loss, states)
    told = torch.zeros_like(d_states, dtype=torch.bool)
    for i, way in enumerate(ways):
        told[way.at, 30 * i : 30 * (i + 1)] = True
    assert not d_states[~told].any() and abs(float((d_states[told] == 0).float().mean()) - 0.25) < 0.01
    left = (states.detach() * (d_states != 0) / 0.75).requires_grad_()
    same = foretell(left, ways, drawn, table)
    assert float(same.loss.detach()) == pytest.approx(float(got.loss.detach()), rel=1e-5)
    torch.testing.assert_close(d_states, torch.autograd.grad(same.loss, left)[0] * (d_states != 0) / 0.75)
    torch.manual_seed(3)
    assert torch.equal(foretell(states, ways, drawn, table, 0.25).loss, got.loss)  # torch's seed decides


def test_bfloat16_comes_near():
    states, ways, drawn, table = of_random(90, 50, 40, 0, hidden=32, width=32)
    ways = [Way(w.at, w.words, (w.weight.detach() / 6).requires_grad_(), w.bias) for w in ways]
    found = {}
    for compute in (torch.float32, torch.bfloat16):
        loss = foretell(states, ways, drawn, table, 0.0, compute).loss
        found[compute] = (loss.detach(), *torch.autograd.grad(loss, leaves(states, ways, table)))
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
    monkeypatch.setattr(language, "foretell", lambda states, ways, *rest: asked.append((states, ways)) or foretell(states, ways, *rest))
    torch.manual_seed(0)
    model = LanguageModel(20, ModelConfig(hidden=6, embedding=5, bidirectional=two)).eval()
    model.scores(batch_of([3, 4, 5, 6, 7], [8, 9, 10], [11]), torch.tensor([12]))
    ((states, ways),) = asked
    assert [sorted(way.words.tolist()) for way in ways] == [[4, 5, 6, 7, 9, 10], [3, 4, 5, 6, 8, 9]][: 1 + two]
    for mine, way in zip(states.chunk(len(ways), 1), ways, strict=True):
        for at, word in zip(way.at.tolist(), way.words.tolist(), strict=True):
            read = torch.autograd.grad(mine[at].sum(), model.encoder.embedding.weight, retain_graph=True)[0].to_dense().abs().sum(1)
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
