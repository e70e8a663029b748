"""Adversarial training: the gradients are those of both losses, and the move is of the right length and against the network."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from tenor.config import ModelConfig
from tenor.data.batches import Batch
from tenor.models.adversarial import twice
from tenor.models.classify import TextClassifier


def made(seed, labels=2, adversarial=0.0):
    torch.manual_seed(seed)
    model = TextClassifier(30, labels, ModelConfig(cell="gru", hidden=7, embedding=5), adversarial=adversarial)
    lengths = sorted(torch.randint(1, 12, (6,)).tolist(), reverse=True)
    texts = [torch.randint(2, 30, (n,)) for n in lengths]
    return model, Batch(pack_sequence(texts), np.arange(6)), torch.randint(labels, (6,)), lengths


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_both_losses(seed, labels):
    share = 0.3
    model, batch, targets, lengths = made(seed, labels, share)
    model.train()
    scores = model.scores(batch, targets)
    scores.loss.backward()
    got = {k: p.grad.to_dense() if p.grad.is_sparse else p.grad for k, p in model.named_parameters()}

    plain, _, _, _ = made(seed, labels)
    plain.train()
    x = plain.encoder.embedded(batch.tokens)
    x.retain_grad()
    sizes = batch.tokens.batch_sizes

    def loss(vectors):
        logits = plain.output(plain.encoder.pooled(vectors, sizes))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float()) if labels == 2 else torch.nn.functional.cross_entropy(logits, targets)

    slope = torch.autograd.grad(loss(x), x, retain_graph=True)[0]
    move = torch.zeros_like(slope)
    for row in range(6):  # the places of a row, by the definition of packing
        at = [int(sizes[:t].sum()) + row for t in range(lengths[row])]
        move[at] = slope[at] * share * x.detach()[at].norm() / slope[at].norm()
    first, second = loss(x), loss(x + move)
    ((first + second) / 2).backward()
    assert float(scores.loss.detach()) == pytest.approx(float((first + second).detach()) / 2, rel=1e-5)
    assert float(second.detach()) > float(first.detach())
    for name, p in plain.named_parameters():
        want = p.grad.to_dense() if p.grad.is_sparse else p.grad
        torch.testing.assert_close(got[name], want, rtol=1e-4, atol=1e-6)


def test_what_is_right_is_counted_on_the_texts_as_they_are():
    model, batch, targets, _ = made(5, 2, 50.0)
    model.train()
    with torch.no_grad():
        wanted = int(((model(batch)[:, 0] > 0).long() == targets).sum())
    assert model.scores(batch, targets).right == wanted
    model.eval()
    before = [p.grad for p in model.parameters()]
    with torch.no_grad():
        model.scores(batch, targets)  # without training nothing is differentiated
    assert all(a is b for a, b in zip(before, (p.grad for p in model.parameters()), strict=True))


def test_a_text_without_slope_stays():
    x = torch.randn(3, 4, requires_grad=True)
    found = twice(x, torch.tensor([2, 1]), 0.5, lambda v: v * 0, lambda v: v.sum())
    found.loss.backward()
    assert torch.isfinite(x.grad).all() and float(found.loss.detach()) == 0
