"""The chain of tags against all ways through a sentence, one after another."""

from itertools import product

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from tenor.errors import TenorError
from tenor.models.crf import Crf


def chain(tags: int, seed: int) -> Crf:
    torch.manual_seed(seed)
    made = Crf(tags).double()
    for p in made.parameters():
        torch.nn.init.normal_(p)
    return made


def ways(crf: Crf, scores: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    """The score of each way through one sentence, by the definition."""
    steps, tags = scores.shape
    return {
        way: crf.first[way[0]] + crf.last[way[-1]] + sum(scores[t, way[t]] for t in range(steps)) + sum(crf.after[way[t], way[t + 1]] for t in range(steps - 1))
        for way in product(range(tags), repeat=steps)
    }


@pytest.mark.parametrize(("tags", "lengths"), [(3, [5, 4, 4, 1]), (4, [3, 3]), (2, [7]), (5, [1, 1]), (1, [3, 2])])
def test_loss_gradient_and_best_way_are_those_of_all_ways(tags, lengths):
    crf = chain(tags, len(lengths))
    sentences = [torch.randn(n, tags, dtype=torch.double, requires_grad=True) for n in lengths]
    right = [torch.randint(tags, (n,)) for n in lengths]
    packed, packed_tags = pack_sequence(sentences), pack_sequence(right)
    sizes = packed.batch_sizes

    found = [ways(crf, s) for s in sentences]
    sums = torch.stack([torch.logsumexp(torch.stack(list(w.values())), 0) for w in found])
    torch.testing.assert_close(crf.all_ways(packed.data, sizes), sums.sum())
    wanted = sums.sum() - sum(w[tuple(t.tolist())] for w, t in zip(found, right, strict=True))
    loss = crf(packed.data, packed_tags.data, sizes)
    torch.testing.assert_close(loss, wanted)
    given = [*sentences, crf.first, crf.last, *([crf.after] if max(lengths) > 1 else [])]
    for one, other in zip(torch.autograd.grad(loss, given), torch.autograd.grad(wanted, given), strict=True):
        torch.testing.assert_close(one, other)

    best = pack_sequence([torch.tensor(max(w, key=lambda way, w=w: float(w[way].detach()))) for w in found])
    assert crf.best(packed.data, sizes).tolist() == best.data.tolist()


def test_a_sentence_is_the_same_alone_and_among_others():
    crf = chain(6, 0)
    sentences = [torch.randn(n, 6, dtype=torch.double) for n in (9, 6, 6, 2, 1)]
    together = pack_sequence(sentences)
    alone = [pack_sequence([s]) for s in sentences]
    torch.testing.assert_close(crf.all_ways(together.data, together.batch_sizes), sum(crf.all_ways(a.data, a.batch_sizes) for a in alone))
    best = pack_sequence([crf.best(a.data, a.batch_sizes) for a in alone])
    assert torch.equal(crf.best(together.data, together.batch_sizes), best.data)


def test_great_scores_stay_finite():
    crf = Crf(3)
    scores = torch.tensor([[1e4, 0, -1e4], [-1e4, 0, 1e4]], requires_grad=True)
    loss = crf(scores, torch.tensor([0, 2]), torch.tensor([1, 1]))
    loss.backward()
    assert float(loss.detach()) == 0 and bool(torch.isfinite(scores.grad).all())


def test_great_differences_between_neighbours_stay_finite():
    """A step that was learnt to be all but impossible, where each word alone wants it."""
    crf = Crf(2)
    crf.after.data = torch.tensor([[0.0, -70.0], [-70.0, -70.0]])
    loss = crf(torch.tensor([[-40.0, 40.0], [-40.0, 40.0]], requires_grad=True), torch.tensor([1, 1]), torch.tensor([1, 1]))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_tags_far_apart_are_those_of_logarithms(seed):
    """Of deviation 40 some have an exponential that float32 has not."""
    torch.manual_seed(seed)
    crf = Crf(12)
    for p in crf.parameters():
        torch.nn.init.normal_(p, std=40)
    sentences = [torch.randn(n, 12, requires_grad=True) for n in (7, 5, 2, 1)]
    packed = pack_sequence(sentences)
    found = crf.all_ways(packed.data, packed.batch_sizes)
    assert found.dtype == torch.float32 and float(crf.after.detach().max()) > 88
    wanted = torch.zeros((), dtype=torch.double)
    for sentence in sentences:
        way = crf.first.double() + sentence[0]
        for step in sentence[1:]:
            way = torch.logsumexp(way[:, None] + crf.after.double(), 0) + step
        wanted = wanted + torch.logsumexp(way + crf.last.double(), 0)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=0)
    given = [*sentences, *crf.parameters()]
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_a_second_derivative_is_refused():
    """Its terms would be missing."""
    scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss = chain(3, 0)(scores, torch.tensor([0, 1, 2, 0]), torch.tensor([2, 2]))
    with pytest.raises(TenorError, match="Leave the chain out"):
        torch.autograd.grad(loss, scores, create_graph=True)
