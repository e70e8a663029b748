"""Virtual adversarial training: its loss and gradients against a plain second way, what it moves, and what rows without a label do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from tenor.config import ModelConfig
from tenor.data.batches import pack
from tenor.data.text import Ragged
from tenor.models.adversary import against, entropy
from tenor.models.classify import TextClassifier, classifier
from tenor.terminal import LiveBar
from tenor.training import fit as fitting
from tenor.training.events import State
from tenor.training.fit import ClassifyExamples
from tenor.training.presets import preset
from tenor.training.teacher import Taught

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = (5, 9, 1, 12, 7, 3)


def ragged(lengths, seed=0):
    return Ragged(np.random.default_rng(seed).integers(2, 50, sum(lengths)).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]))


def shares_of(logits):
    return torch.cat((torch.sigmoid(-logits), torch.sigmoid(logits)), 1) if logits.shape[1] == 1 else logits.softmax(1)


def plainly(net, batch, targets, length):
    """The loss as models/adversary.py tells it, text by text, and nothing saved: a graph that is gone through twice."""
    tokens, wanted = batch.tokens, targets[torch.from_numpy(batch.rows)]
    labelled = ~wanted[:, 0].isnan()

    def taught(logits):
        return -(wanted[labelled] * shares_of(logits)[labelled].log()).sum() / max(1, int(labelled.sum()))

    def answer(x):
        return net.output(net.dropout(net.encoder.pooled(x, tokens.batch_sizes)))

    x = net.encoder.vectors(tokens)
    logits = answer(x)
    shares = shares_of(logits)
    first = taught(logits) - 1e-6 * (shares * shares.log())[~labelled].sum() / max(1, int((~labelled).sum()))
    slope = torch.autograd.grad(first, x, retain_graph=True)[0]
    y = net.encoder.vectors(tokens)
    move = torch.empty_like(y)
    starts = np.concatenate([[0], np.cumsum(tokens.batch_sizes.numpy())])
    for b in range(len(wanted)):
        places = [int(starts[t]) + b for t, live in enumerate(tokens.batch_sizes) if b < live]
        move[places] = slope[places] / slope[places].norm() * length * y.detach().square().mean().sqrt()
    moved = answer(y + move.detach())
    divergence = (shares.detach() * (shares.detach().log() - shares_of(moved).log())).sum(1).mean()
    guessed = shares.argmax(1)[labelled] == wanted[labelled].argmax(1)
    return first + taught(moved) + divergence, int(guessed.sum())


@pytest.mark.parametrize(("cell", "pooling", "layers"), [("lstm", "max_mean", 1), ("gru", "max_mean", 2), ("rnn", "last", 1), ("lstm", "last", 2)])
@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("known", [[0, 2, 5], [], range(6)], ids=["some rows have a label", "none", "all"])
def test_loss_and_gradients_are_those_of_a_second_way(cell, pooling, layers, labels, known):
    torch.manual_seed(labels)
    net = TextClassifier(50, labels, ModelConfig(cell=cell, hidden=7, embedding=5, pooling=pooling, layers=layers, word_dropout=0.2, embedding_dropout=0.3, dropout=0.3)).train()
    with torch.no_grad():
        net.output.weight.mul_(4)  # answers that differ from a guess
    targets = torch.full((6, labels), torch.nan)
    targets[list(known)] = torch.rand(len(known), labels).softmax(1)
    batch = pack(ragged(LENGTHS), np.random.default_rng(labels).permutation(6))
    found, right = [], []
    for way in ("own", "plain"):
        net.zero_grad()
        torch.manual_seed(7)  # both drop the same
        if way == "own":
            loss, *_ = scores = net.scores(batch, targets, 1.5)
            right.append(scores.right)
        else:
            loss, guessed = plainly(net, batch, targets, 1.5)
            right.append(guessed)
        loss.backward()
        found.append([loss.detach(), *(p.grad.to_dense() if p.grad.is_sparse else p.grad for p in net.parameters())])
    assert right[0] == right[1]
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-7)


def test_several_networks_are_moved_each_against_its_own_answer():
    torch.manual_seed(0)
    three = classifier(50, 3, ModelConfig(hidden=7, embedding=5, networks=3)).train()
    batch, targets = pack(ragged(LENGTHS), np.arange(6)), torch.full((6, 3), torch.nan)
    targets[:3] = torch.eye(3)
    alone = [member.scores(batch, targets, 2.0).loss.detach() for member in three.members]
    torch.testing.assert_close(three.scores(batch, targets, 2.0).loss.detach(), torch.stack(alone).mean())
    assert np.ptp(alone) > 1e-3


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("far", [30.0, -30.0])
def test_the_surest_answers_have_a_slope_too(labels, far):
    logits = torch.zeros(1, 1 if labels == 2 else 3)
    logits[0, -1] = far
    logits.requires_grad_()
    entropy(logits).sum().backward()
    assert float(logits.grad[0, -1]) * far < 0


def test_a_move_makes_the_answers_worse():
    torch.manual_seed(0)
    net = TextClassifier(50, 2, ModelConfig(hidden=16, embedding=8)).train()
    batch, targets = pack(ragged((40,) * 8), np.arange(8)), torch.eye(2)[torch.arange(8) % 2]
    loss = [float(net.scores(batch, targets, length).loss.detach()) for length in (1e-3, 1.0, 4.0)]
    assert float(net.scores(batch, targets).loss.detach()) * 2 == pytest.approx(loss[0], rel=1e-3)
    assert loss[0] < loss[1] < loss[2]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.floats(0.1, 9), st.integers(0, 10_000))
def test_every_text_is_moved_along_its_slope_and_equally_far(lengths, length, seed):
    torch.manual_seed(seed)
    texts = [torch.randn(n, 3) for n in lengths]
    slopes = [torch.randn(n, 3) * 10.0 ** float(torch.randint(-30, 20, ())) for n in lengths]
    slopes[0] *= 0
    x, packed = pack_sequence(texts, enforce_sorted=False), pack_sequence(slopes, enforce_sorted=False)
    moves = against(packed.data, x.data, x.batch_sizes, length)
    starts = np.concatenate([[0], np.cumsum(x.batch_sizes.numpy())])
    far = length * float(torch.cat(texts).square().mean().sqrt())
    for b, i in enumerate(x.sorted_indices.tolist()):
        move = torch.stack([moves[int(starts[t]) + b] for t in range(lengths[i])])
        assert float(move.norm()) == pytest.approx(far if i else 0.0, rel=1e-4)
        if i:
            along = float((move.double() * slopes[i].double()).sum() / (move.double().norm() * slopes[i].double().norm()))
            assert along == pytest.approx(1, abs=1e-5)


def test_rows_that_nobody_labelled_are_counted_nowhere():
    torch.manual_seed(0)
    net = TextClassifier(50, 3, ModelConfig(hidden=7, embedding=5))
    targets = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1, 2])]
    some = targets.clone()
    some[[1, 4]] = torch.nan
    rows = ragged(LENGTHS)
    without, alone = net.scores(pack(rows, np.arange(6)), some), net.scores(pack(rows, np.array([0, 2, 3, 5])), targets)
    torch.testing.assert_close(without.loss, alone.loss)
    assert without[1:3] == alone[1:3]
    assert net.train().scores(pack(rows, np.arange(6)), some, 2.0).rows == 4


def times_read(labelled, others, epochs):
    """[epochs, rows]"""
    shares = np.concatenate([np.eye(2, dtype=np.float32)[np.zeros(labelled, int)], Taught.by_nobody(["x"] * others, 2).shares])
    ids = ragged([1] * (labelled + others))
    settings = preset("base", epochs=epochs, batch_size=4, adversary=2.0)
    examples = ClassifyExamples(ids, shares, labelled, ids, np.zeros(len(ids), np.int64), settings, 0)
    assert examples.batch(examples.plan(0)[0])[2] == 2.0
    assert all(len(batch) == 2 for batch in examples.validation())
    return np.stack([np.bincount(np.concatenate(examples.plan(epoch)), minlength=len(ids)) for epoch in range(epochs)])


@given(st.integers(1, 30), st.integers(1, 200), st.integers(1, 5))
def test_an_epoch_reads_each_label_and_two_rows_that_nobody_labelled_for_it_in_turn(labelled, others, epochs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "SMALL", 0)
        times = times_read(labelled, others, epochs)
    assert (times[:, :labelled] == 1).all()
    assert (times[:, labelled:] <= 1).all()
    assert (times[:, labelled:].sum(1) == min(others, 2 * labelled)).all()
    assert np.ptp(times[:, labelled:].sum(0)) <= 1


@given(st.integers(1, 30), st.integers(1, 900), st.integers(1, 5))
def test_of_few_labels_none_of_many_others_is_left_out_and_each_label_is_read_as_often(labelled, others, epochs):
    times = times_read(labelled, others, epochs)
    known, rest = times[:, :labelled], times[:, labelled:]
    assert (rest <= 1).all() and np.ptp(rest.sum(0)) <= 1 and len(set(rest.sum(1))) == 1
    assert (rest.sum(0) >= 1).all() and (rest.sum(1) >= min(others, 2 * labelled)).all()
    assert np.ptp(known) == 0 and 1 <= known.min() <= 15
    share = known.sum() / times.sum()
    assert known.min() == 1 or share <= 0.2 + 1e-9
    assert known.min() == 15 or share > 0.1  # more readings would be beyond a fifth


def test_a_first_batch_without_a_label_is_shown():
    assert LiveBar().measured(State()) == "loss 0.000  accuracy 0.000"
