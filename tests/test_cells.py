"""Every path (reference, torch, native) gives what the reference gives, in every format."""

import pytest
import torch
from hypothesis import given, settings

from recurrent import FAR, PATHS, Problem, assert_near, assert_same, forced, problems, values

CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]


def reference_of(problem, cell, dtype=torch.float32, weights=True, **more):
    with forced("reference"):
        return problem.results(problem.layer(cell, dtype, **more), weights)


@pytest.mark.parametrize("path", PATHS[1:])
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=12)
@given(problem=problems())
def test_every_path_gives_what_the_reference_gives(cell, path, problem):
    for dtype in (torch.float64, torch.float32):
        wanted = reference_of(problem, cell, dtype)
        with forced(path):
            assert_same(problem.results(problem.layer(cell, dtype)), wanted, dtype)
    wanted = reference_of(problem, cell, compute=torch.bfloat16)
    with forced(path):
        got = problem.results(problem.layer(cell, compute=torch.bfloat16))
    rounds_states = cell == "rnn_relu" and path == "torch"
    assert_near(*((values(got), values(wanted)) if rounds_states else (got, wanted)), cell)


@pytest.mark.parametrize("path", PATHS[1:])
@pytest.mark.parametrize("cell", CELLS)
def test_long_rows_and_wide_layers(cell, path):
    """Over the blocks of any kernel, with leftovers: sizes that are no multiple of 16, rows that are no multiple of 8."""
    problem = Problem((70, 1, 64, 0, 33, *range(2, 40)), 35, 77, layers=2)
    for more in ({}, {"compute": torch.bfloat16}):
        wanted = reference_of(problem, cell, **more)
        with forced(path):
            got = problem.results(problem.layer(cell, **more))
        assert got.keys() == wanted.keys()
        if more and (cell, path) == ("rnn_relu", "torch"):
            got, wanted = values(got), values(wanted)
        for name, b in wanted.items():  # norms: float32 sums of 1,300 tokens, and bfloat16 as in assert_near
            assert float((got[name] - b).norm() / b.norm()) < (FAR[cell] if more else 1e-5), name


@pytest.mark.parametrize("path", PATHS[1:])
@pytest.mark.parametrize("cell", CELLS)
def test_the_dropouts_are_the_same_on_every_path(cell, path):
    """The masks are drawn outside the kernels, so after the same seed they are the same."""
    problem = Problem((7, 0, 4, 1), 5, 6, layers=2)
    shares = {"dropout": 0.2, "variational_dropout": 0.3, "recurrent_dropout": 0.4 * (path == "native"), "weight_dropout": 0.2}
    wanted = reference_of(problem, cell, torch.float64, **shares)
    with forced(path):
        assert_same(problem.results(problem.layer(cell, torch.float64, **shares)), wanted, torch.float64)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_frozen_weights_leave_the_gradient_of_the_input_as_it_is(cell, path):
    problem = Problem((6, 0, 3, 1), 5, 7, layers=2)
    with forced(path):
        whole = problem.results(problem.layer(cell))
        frozen = problem.layer(cell)
        frozen.requires_grad_(False)
        got = problem.results(frozen, weights=False)
    for name in got:
        torch.testing.assert_close(got[name], whole[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_alone_and_among_others_is_the_same(cell, path):
    problem = Problem((9, 2, 5), 4, 6, layers=2, states=False)
    with forced(path), torch.no_grad():
        layer = problem.layer(cell)
        x = torch.randn(9, 3, 4)
        x[:, 0] = torch.nan  # a broken row breaks no other
        out, last = layer(x, lengths=problem.lengths)
        for row, n in ((1, 2), (2, 5)):
            alone, end = layer(x[:n, row])
            torch.testing.assert_close(out[:n, row], alone, rtol=1e-5, atol=1e-6)
            for a, b in zip(last, end, strict=True) if isinstance(last, tuple) else [(last, end)]:
                torch.testing.assert_close(a[:, row], b, rtol=1e-5, atol=1e-6)
