"""The language model: its neighbours, its loss against a plain softmax, and that neither direction sees what it foretells."""

from contextlib import ExitStack, contextmanager
from math import inf, log
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from tenor.config import ModelConfig
from tenor.data.batches import Batch
from tenor.errors import TenorError
from tenor.models import language, sampled_softmax
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


SIZES = st.sampled_from([(1, 1, 1), (7, 4, 3), (64, 1, 50), (2048, 256, 128)])  # states at a time, and what their number and that of the candidates are filled up to


@contextmanager
def in_pieces(sizes):
    with ExitStack() as stack:
        for name, size in zip(("CHUNK", "WHOLE_STATES", "WHOLE_CANDIDATES"), sizes, strict=True):
            stack.enter_context(patch.object(sampled_softmax, name, size))
        yield


@settings(max_examples=40)
@given(rows=st.integers(1, 30), vocab=st.integers(2, 40), draws=st.integers(1, 60), directions=st.integers(1, 2), scale=st.sampled_from([1.0, -2.5]), sizes=SIZES, seed=st.integers(0, 99))
def test_foretelling_is_its_definition(rows, vocab, draws, directions, scale, sizes, seed):
    states, ways, drawn, table = of_random(rows, vocab, draws, seed, directions=directions)
    with in_pieces(sizes):
        got = foretell(states, ways, drawn, table)
    found = torch.autograd.grad(got.loss * scale, leaves(states, ways, table))
    wide = states.detach().double().requires_grad_(), [Way(w.at, w.words, w.weight.detach().double().requires_grad_(), w.bias.detach().double().requires_grad_()) for w in ways], table.detach().double().requires_grad_()
    want, right = plain_loss(wide[0], wide[1], drawn, wide[2])
    assert float(got.loss.detach()) == pytest.approx(float(want.detach()), rel=1e-5, abs=1e-6)
    assert (got.right, got.words) == (right, sum(len(w.words) for w in ways))
    for one, exact in zip(found, torch.autograd.grad(want * scale, leaves(*wide)), strict=True):
        torch.testing.assert_close(one.to_dense().double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(7, 4, 3), (2048, 256, 128)])
def test_what_is_dropped_has_no_part_in_it(sizes):
    """A share of the states' numbers counts nothing and gets no gradient; the loss is that of the others, scaled, and so are all gradients."""
    states, ways, drawn, table = of_random(300, 9, 20, 0, hidden=30)
    with in_pieces(sizes):
        torch.manual_seed(3)
        got = foretell(states, ways, drawn, table, 0.25)
        d_states, *others = torch.autograd.grad(got.loss, leaves(states, ways, table))
        told = torch.zeros_like(d_states, dtype=torch.bool)
        for i, way in enumerate(ways):
            told[way.at, 30 * i : 30 * (i + 1)] = True
        assert not d_states[~told].any() and abs(float((d_states[told] == 0).float().mean()) - 0.25) < 0.015
        left = (states.detach() * (d_states != 0) / 0.75).requires_grad_()
        same = foretell(left, ways, drawn, table)
        d_left, *expected = torch.autograd.grad(same.loss, leaves(left, ways, table))
        assert float(same.loss.detach()) == pytest.approx(float(got.loss.detach()), rel=1e-5)
        torch.testing.assert_close(d_states, d_left * (d_states != 0) / 0.75, rtol=1e-4, atol=1e-7)
        for one, other in zip(others, expected, strict=True):
            torch.testing.assert_close(one.to_dense(), other.to_dense(), rtol=1e-4, atol=1e-6)
        torch.manual_seed(3)
        assert torch.equal(foretell(states, ways, drawn, table, 0.25).loss, got.loss)  # torch's seed decides


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_nothing_is_differentiated_that_nobody_asks_for(context, monkeypatch):
    states, ways, drawn, table = of_random(30, 9, 20, 0)
    loss = foretell(states, ways, drawn, table).loss
    monkeypatch.setattr(torch.Tensor, "index_add_", None)  # part of every gradient
    with context():
        assert torch.equal(foretell(states, ways, drawn, table).loss, loss)


def test_batches_without_a_word_to_foretell():
    model = LanguageModel(12, ModelConfig(hidden=4, embedding=3))
    for rows in ([[3], [4]], [[1, 1, 1]]):
        scores = model.scores(batch_of(*rows), torch.tensor([5]))
        scores.loss.backward()
        assert (float(scores.loss.detach()), scores.rows, scores.right) == (0.0, 0, 0)
        assert not any(p.grad is not None and p.grad.to_dense().any() for p in model.parameters())
    scores = model.scores(batch_of([3, 1]), torch.tensor([5]))  # only the second direction has one
    scores.loss.backward()
    assert scores.rows == 1 and not model.head.grad[0].any() and model.head.grad[1].any()


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
    monkeypatch.setattr(language, "foretell", lambda *given: asked.append(given) or foretell(*given))
    torch.manual_seed(0)
    model = LanguageModel(20, ModelConfig(hidden=6, embedding=5, bidirectional=two, dropout=0.3), torch.bfloat16)
    for training in (True, False):
        model.train(training).scores(batch_of([3, 4, 5, 6, 7], [8, 9, 10], [11]), torch.tensor([12]))
    assert [given[-2:] for given in asked] == [(0.3, torch.bfloat16), (0.0, torch.bfloat16)]
    states, ways = asked[1][:2]
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
