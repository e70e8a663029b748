"""torch's own kernels: which one runs, and the call that GPUs get."""

import pytest
import torch

from recurrent import OURS, Problem, assert_same, forced
from tenor.cells import GRU, LSTM, via_torch


def test_the_fused_kernel_runs_where_the_path_says_so():
    x = torch.randn(5, 2, 4)
    with forced("torch"):
        for layer in (LSTM(4, 3, bidirectional=True), GRU(4, 3), LSTM(4, 3, dtype=torch.float64), LSTM(4, 3, proj_size=2)):
            with torch.profiler.profile() as profile:
                layer(x.to(layer.weight_hh_l0.dtype), lengths=[3, 5])
            ran = any(e.key == "aten::mkldnn_rnn_layer" for e in profile.key_averages())
            assert ran == ("oneDNN's fused kernel" in layer.path)
        torch._C._set_mkldnn_enabled(False)
        try:
            assert "switched off" in LSTM(4, 3).path
        finally:
            torch._C._set_mkldnn_enabled(True)
    assert via_torch.how("gru", torch.float32, torch.device("cuda"), False) == "cuDNN on packed rows"


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("cell", OURS)
def test_the_call_for_gpus_gives_the_same(cell, states):
    """cuDNN's call on packed rows also runs on a CPU, slowly; here it stands in for the GPU."""
    layer = Problem((), 6, 4, layers=2).layer(cell)
    sizes, x = torch.tensor([3, 2, 2, 1, 1]), torch.randn(9, 6)
    h0 = torch.randn(4, 4, 4) if states else torch.zeros(4, 4, 4)  # a fourth row of length 0
    c0 = h0.flip(2) if cell == "lstm" else None
    with forced("torch"):
        wanted = layer._layers(x, sizes, h0, c0, torch.float32)
        weights = [w for i in range(2) for w in layer._weights(i)[0]]
        got = via_torch.stack(cell, x, sizes, h0, c0, weights, torch.float32, layers=2)
    for a, b in zip(got, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_projections_equal_torch_nn():
    problem = Problem((5, 0, 1, 3), 4, 6, layers=2)
    with forced("torch"):
        ours, theirs = (problem.layer("lstm", torch.float64, torchs, proj_size=2) for torchs in (False, True))
        assert_same(problem.results(ours), problem.results(theirs), torch.float64)
