"""The specification against torch.nn on packed rows, and against finite differences."""

import pytest
import torch
from hypothesis import given, settings

from recurrent import Problem, assert_near, assert_same, forced, problems, values
from tenor.cells import LSTM, reference

CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=10)
@given(problem=problems())
def test_equals_torch_nn_in_outputs_states_and_every_gradient(cell, problem):
    with forced("reference"):
        for dtype in (torch.float64, torch.float32):
            assert_same(problem.results(problem.layer(cell, dtype)), problem.results(problem.layer(cell, dtype, torchs=True)), dtype)


def test_projections_equal_torch_nn():
    problem = Problem((5, 1, 3), 4, 6, layers=2)
    with forced("reference"):
        ours, theirs = (problem.layer("lstm", torch.float64, torchs, proj_size=2) for torchs in (False, True))
        assert_same(problem.results(ours), problem.results(theirs), torch.float64)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_equal_finite_differences(cell, masked):
    """Rows of 3, 2, 1 and 0 tokens, all sizes different."""
    torch.manual_seed(8)
    gates, size, hidden = {"lstm": 4, "gru": 3}.get(cell, 1), 2, 3
    shapes = [(6, size), (2, 4, hidden), (2, 4, hidden), *[(gates * hidden, size), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)] * 2]
    tensors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    mask = torch.rand(2, 4, hidden, dtype=torch.float64).round() * 2 if masked else None

    def outputs(x, h0, c0, *w):
        found = reference.run(cell, x, torch.tensor([3, 2, 1]), h0, c0 if cell == "lstm" else None, [w[:4], w[4:]], torch.float64, mask)
        return tuple(t for t in found if t is not None)

    used = tensors if cell == "lstm" else [t.detach() if i == 2 else t for i, t in enumerate(tensors)]
    assert torch.autograd.gradcheck(outputs, used)


@pytest.mark.parametrize("cell", CELLS)
def test_two_directions_are_two_layers_each_with_its_own_mask(cell):
    torch.manual_seed(9)
    layer = Problem((), 3, 4).layer(cell, torch.float64)
    x, mask = torch.randn(5, 2, 3, dtype=torch.float64), torch.rand(2, 2, 4, dtype=torch.float64).round() * 2
    h0, sizes, weights = torch.randn(2, 2, 4, dtype=torch.float64), torch.full((5,), 2), layer._weights(0)[0]
    c0 = h0.flip(2) if cell == "lstm" else None
    out, h_n, _ = reference.run(cell, x.flatten(0, 1), sizes, h0, c0, weights, torch.float64, mask)
    for d in (0, 1):
        here = slice(d, d + 1)
        one, h, _ = reference.run(cell, (x.flip(0) if d else x).flatten(0, 1), sizes, h0[here], None if c0 is None else c0[here], weights[here], torch.float64, mask[here])
        one = one.view(5, 2, 4)
        torch.testing.assert_close(out.view(5, 2, 8)[:, :, d * 4 : d * 4 + 4], one.flip(0) if d else one, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(h_n[here], h, rtol=1e-12, atol=1e-12)


def test_a_step_by_hand():
    """An LSTM of one unit and weights of one gate at a time: torch's order is i, f, g, o."""
    h, c = torch.tensor([[0.5]]), torch.tensor([[2.0]])
    big = 50.0  # sigmoid(50) is 1 in float32, sigmoid(-50) under 1e-21
    for i, f, g, o, wanted in ((-big, big, 3.0, big, 2.0), (big, -big, 3.0, big, 0.9950548), (big, big, -3.0, big, 1.0049452), (-big, -big, 3.0, -big, 0.0)):
        wx = torch.tensor([[i, f, g, o]])
        got_h, got_c = reference.lstm(wx, torch.zeros(1, 4), h, c)
        assert got_c.item() == pytest.approx(wanted, abs=1e-6)
        assert got_h.item() == pytest.approx((o > 0) * torch.tanh(torch.tensor(wanted)).item(), abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_rounds_the_operands_and_nothing_else(cell):
    x = torch.tensor([1.0 + 2**-9, -3.0e-5, 0.1, 0.0], requires_grad=True)
    rounded = reference.operand(x, torch.bfloat16)
    assert torch.equal(rounded, x.detach().bfloat16().float())
    assert torch.equal(torch.autograd.grad(rounded.sum(), x)[0], torch.ones(4))
    problem = Problem((9, 7, 0, 1, 4), 20, 30, layers=2)
    with forced("reference"):
        coarse = problem.results(problem.layer(cell, compute=torch.bfloat16))
        exact = problem.results(problem.layer(cell))
    assert_near(values(coarse), values(exact), cell)
    assert not torch.equal(coarse["out"], coarse["out"].bfloat16().float())  # the states keep their float32


def test_no_steps_give_the_first_states_and_a_graph():
    with forced("reference"):
        layer = LSTM(3, 4, bidirectional=True)
        first = (torch.randn(2, 2, 4), torch.randn(2, 2, 4))
        out, last = layer(torch.randn(0, 2, 3), first)
        assert out.shape == (0, 2, 8) and torch.equal(last[0], first[0]) and torch.equal(last[1], first[1])
        out.sum().backward()  # does not fail
