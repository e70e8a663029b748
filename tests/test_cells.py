"""The layers against torch.nn on packed rows: an independent path through torch, a step at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from tenor.cells import GRU, LSTM, RNN
from tenor.cells.layers import Places, _Recurrent

PAIRS = {"lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU), "rnn": (RNN, nn.RNN)}
# float32 sums in another order: a few units in the last place of values around 1.
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


def make(cell: str, seed: int, size: int, hidden: int, layers: int, two: bool, dtype: torch.dtype = torch.float32) -> tuple[_Recurrent, nn.RNNBase]:
    torch.manual_seed(seed)
    ours_type, theirs_type = PAIRS[cell]
    theirs = theirs_type(size, hidden, layers, bidirectional=two)
    ours = ours_type(size, hidden, layers, bidirectional=two, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())  # the same names, shapes and gate order
    return ours, theirs


def packed(lengths: list[int], size: int) -> PackedSequence:
    lengths = sorted(lengths, reverse=True)
    return pack_padded_sequence(torch.randn(lengths[0], len(lengths), size), torch.tensor(lengths))


def run(layer: nn.Module, data: Tensor, batch_sizes: Tensor, cotangents: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of input and weights, outputs, final states."""
    data = data.clone().requires_grad_()
    out, final = layer(PackedSequence(data, batch_sizes))
    final = final[0] if isinstance(final, tuple) else final
    ((out.data * cotangents[0]).sum() + (final * cotangents[1]).sum()).backward()
    assert data.grad is not None
    named = dict(layer.named_parameters())
    return [data.grad, *(named[k].grad for k in sorted(named))], out.data.detach(), final.detach()  # type: ignore[misc]


@pytest.mark.parametrize("cell", PAIRS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    size=st.integers(1, 7),
    hidden=st.integers(1, 6),
    layers=st.integers(1, 2),
    two=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_equals_torch_nn_in_outputs_states_and_every_gradient(cell, lengths, size, hidden, layers, two, seed):
    ours, theirs = make(cell, seed, size, hidden, layers, two)
    x = packed(lengths, size)
    directions = 2 if two else 1
    cotangents = (torch.randn(len(x.data), hidden * directions), torch.randn(layers * directions, len(lengths), hidden))
    for got, wanted in zip(run(ours, x.data, x.batch_sizes, cotangents), run(theirs, x.data, x.batch_sizes, cotangents), strict=True):
        torch.testing.assert_close(got, wanted, **TOLERANCE)


@pytest.mark.parametrize("cell", PAIRS)
def test_bfloat16_stays_near_float32(cell):
    ours, theirs = make(cell, 3, 40, 48, 2, True, torch.bfloat16)
    x = packed([31, 30, 17, 9, 2, 1], 40)
    cotangents = (torch.randn(len(x.data), 96) / 10, torch.randn(4, 6, 48) / 10)
    got, wanted = run(ours, x.data, x.batch_sizes, cotangents), run(theirs, x.data, x.batch_sizes, cotangents)
    # bfloat16 keeps 8 bits: 2**-8 a product, more over the steps; a wrong gate or direction is off by far more.
    for a, b in zip([*got[0], *got[1:]], [*wanted[0], *wanted[1:]], strict=True):
        assert float((a - b).norm() / b.norm()) < 0.03


@pytest.mark.parametrize("cell", PAIRS)
def test_the_path_for_gpus_gives_the_same(cell):
    """cuDNN's call on packed rows also runs on a CPU, slowly; here it stands in for the GPU."""
    ours, _ = make(cell, 5, 6, 4, 2, True)
    x = packed([5, 3, 1], 6)
    out, final = ours(x)
    out2, final2 = ours._cudnn(x)
    torch.testing.assert_close(out2.data, out.data, **TOLERANCE)
    torch.testing.assert_close(final2, final, **TOLERANCE)


@pytest.mark.parametrize("cell", PAIRS)
def test_a_row_alone_and_among_longer_rows_is_the_same(cell):
    ours, _ = make(cell, 7, 5, 8, 1, True)
    x = packed([12, 4], 5)
    short = torch.stack([x.data[i * 2 + 1] for i in range(4)])
    alone, final_alone = ours(PackedSequence(short, torch.ones(4, dtype=torch.int64)))
    together, final = ours(x)
    torch.testing.assert_close(together.data[[1, 3, 5, 7]], alone.data, **TOLERANCE)
    torch.testing.assert_close(final[:, 1], final_alone[:, 0], **TOLERANCE)


def test_padding_gets_no_gradient_and_unpad_undoes_pad():
    x = packed([4, 2, 1], 3).data.requires_grad_()
    places = Places(torch.tensor([3, 2, 1, 1]))
    for direction in (0, 1):
        torch.testing.assert_close(places.unpad(places.pad(x, direction), direction), x, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(places.pad(x, 1).sum(), x)  # each row once, though padding copies row 0
    torch.testing.assert_close(gradient, torch.ones_like(x), rtol=0, atol=0)


def test_the_fused_kernel_runs_where_the_path_says_so():
    x = packed([5, 3], 4)
    for layer in (LSTM(4, 3, bidirectional=True), GRU(4, 3)):
        with torch.profiler.profile() as profile:
            layer(x)
        ran = any(e.key == "aten::mkldnn_rnn_layer" for e in profile.key_averages())
        assert ran == ("oneDNN's fused kernel" in layer.path)
    assert "CPU" in LSTM(4, 3).path
    torch._C._set_mkldnn_enabled(False)
    try:
        assert "switched off" in LSTM(4, 3).path
    finally:
        torch._C._set_mkldnn_enabled(True)
