"""Reading in 8 bits: how far its tanh and sigmoid are off, and that what keeps a state over a long text is not off at all."""

import pytest
import torch

from recurrent import ISAS
from tenor.cells import native
from tenor.cells.reader import Reader

ABLE = [name for name in ISAS if native.available() and native.traits(name).int8]
pytestmark = pytest.mark.skipif(not ABLE, reason="8-bit products need AVX2, which this CPU has not")
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1}
X = torch.cat((torch.linspace(-12, 12, 9001), torch.tensor([-3e38, -1e-30, 0.0, 3e38]))).bfloat16().float()


def last(cell, words, steps):
    """[rows], a single unit's state. words: [V, gates], the sums that they bring, since nothing is added by the state. steps: [T, rows] ids."""
    weights = (torch.eye(GATES[cell]), torch.zeros(GATES[cell], 1), None, None)
    return Reader(cell, words, [weights], torch.int8).last(steps.flatten(), torch.full((len(steps),), steps.shape[1]))[0, :, 0]


def sums(*gates):
    """A word for each x, whose gates are x where they are None."""
    return torch.stack([X if g is None else torch.full_like(X, g) for g in gates], 1)


@pytest.mark.parametrize("isa", ABLE)
@pytest.mark.parametrize(("cell", "gates", "function"), [
    ("rnn_tanh", [None], torch.tanh),
    ("gru", [0, None, 40], lambda x: torch.sigmoid(-x)),
    ("gru", [0, -40, None], torch.tanh),
    ("lstm", [None, 0, 40, 40], lambda x: torch.tanh(torch.sigmoid(x))),
    ("lstm", [40, 0, None, 40], lambda x: torch.tanh(torch.tanh(x))),
    ("lstm", [40, 0, 40, None], lambda x: torch.sigmoid(x) * torch.tanh(torch.tensor(1.0, dtype=torch.float64))),
], ids=["tanh", "z", "n", "i", "g", "o"])  # fmt: skip
def test_each_gate_is_nearly_what_it_should_be(monkeypatch, isa, cell, gates, function):
    """A step from nothing: of one gate's sum, others open or shut."""
    monkeypatch.setenv("TENOR_ISA", isa)
    got, wanted = last(cell, sums(*gates), torch.arange(len(X))[None]), function(X.double())
    apart = (got - wanted).abs()
    kept = cell == "gru" and gates[1] is None
    assert (0 if kept else 5e-6) < float(apart.max()) < (1e-6 if kept else 2.4e-4)  # the exact ones would take longer; two after another are off twice
    if cell == "rnn_tanh":
        assert float(apart.max()) < 1.2e-4 and float(got.abs().max()) == 1
        assert torch.equal(got[X.abs() > 5.01], X[X.abs() > 5.01].sign()) and float(got[X == 0][0]) == 0


@pytest.mark.parametrize("isa", ABLE)
@pytest.mark.parametrize("forget", [7.0, 8.5, 9.5, 10.5])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_state_is_kept_over_a_long_text(monkeypatch, isa, cell, forget):
    """A first word sets it to 1, and 600 others leave sigmoid(forget) of it each: what an error of 1e-4 a step would make another number of."""
    monkeypatch.setenv("TENOR_ISA", isa)
    words = torch.tensor([[40, -40, 40, 40], [-40, forget, 0, 40]] if cell == "lstm" else [[0, -40, 40], [0, forget, 0]])
    kept = torch.sigmoid(torch.tensor(forget, dtype=torch.float64)) ** 600
    wanted = torch.tanh(kept) if cell == "lstm" else kept
    assert float(last(cell, words, torch.tensor([[0], *[[1]] * 600]))) == pytest.approx(float(wanted), abs=5e-4)


@pytest.mark.parametrize("isa", ABLE)
@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1)])
def test_great_weights_side_by_side_do_not_overflow(monkeypatch, isa, signs):
    """Where two products are added in 16 bits, 255 times 127 twice has no room."""
    monkeypatch.setenv("TENOR_ISA", isa)
    of = torch.tensor(signs).repeat(5)[:9] * 0.1
    w_hh = torch.stack([of * scale for scale in torch.linspace(-1, 1, 9)])
    reader = Reader("rnn_tanh", torch.stack((torch.full((9,), 40.0), torch.zeros(9))), [(torch.eye(9), w_hh, None, None)], torch.int8)
    got = reader.last(torch.tensor([0, 1]), torch.tensor([1, 1]))[0, 0]  # the first word makes all states 1
    torch.testing.assert_close(got, torch.tanh(w_hh.sum(1)), rtol=0, atol=0.01)
