"""A Stepper gives what the layer's own step gave when it was made."""

import copy
import pickle

import pytest
import torch

from recurrent import PATHS, Problem, forced
from tenor.cells import GRU, LSTM, RNN, Stepper
from tenor.errors import TenorError

FORMATS = [(torch.float32, None), (torch.float64, None), (torch.float32, torch.bfloat16), (torch.bfloat16, None)]


def steps(step, x, hx):
    outs = []
    for now in x:
        out, hx = step(now, hx)
        outs.append(out)
    return torch.stack(outs), *(hx if isinstance(hx, tuple) else (hx,))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("cell", "layers", "bias"), [("lstm", 1, True), ("lstm", 3, False), ("gru", 2, True), ("rnn_tanh", 2, True), ("rnn_relu", 1, False)])
@pytest.mark.parametrize(("dtype", "compute"), FORMATS)
def test_it_steps_as_the_layer_did_when_it_was_made(path, cell, layers, bias, dtype, compute):
    with forced(path), torch.no_grad():
        layer = Problem((), 3, 20, layers, two=False, bias=bias).layer(cell, dtype, compute=compute, dropout=0.3 * (layers > 1))
        x = torch.randn(6, 5, 3).to(dtype)
        h = torch.randn(layers, 5, 20).to(dtype)
        first = (h, torch.randn(5, layers, 20).to(dtype).transpose(0, 1)) if cell == "lstm" else h
        stepper = Stepper(layer)
        layer.eval()
        wanted = [steps(layer.step, x, hx) for hx in (None, first)]
        for weight in layer.parameters():
            weight.fill_(torch.nan)
        for got, want in zip((steps(stepper, x, None), steps(stepper, x, first)), wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)
        assert stepper.path == layer.path_for(1, "stepping")


def test_no_rows_and_projections():
    stepper = Stepper(GRU(3, 4))
    out, hx = stepper(torch.zeros(0, 3))
    assert out.shape == (0, 4) and hx.shape == (1, 0, 4)
    layer = LSTM(3, 5, 2, proj_size=2)
    x = torch.randn(4, 3)
    torch.testing.assert_close(Stepper(layer)(x), layer.step(x))


def test_bad_input_is_refused():
    with pytest.raises(TenorError, match="one direction"):
        Stepper(RNN(3, 4, bidirectional=True))
    stepper, x = Stepper(LSTM(3, 4, 2)), torch.zeros(5, 3)
    h = torch.zeros(2, 5, 4)
    for given, hx, match in [
        (x[0], None, "shape of x must be"),
        (x[:, :2], None, "input_size, 3"),
        (x.double(), None, "float32 is needed"),
        (x, h, r"tuple \(h0, c0\)"),
        (x, (h, h[:1]), "c0 must have the shape"),
        (x, (h[:, :4], h), "h0 must have the shape"),
        (x, (h, h.double()), "c0 is float64"),
    ]:
        with pytest.raises(TenorError, match=match):
            stepper(given, hx)


def test_copies_are_itself_and_pickles_are_refused():
    for path in ("native", "torch"):
        with forced(path):
            stepper = Stepper(LSTM(3, 4))
        assert copy.copy(stepper) is stepper and copy.deepcopy({"a": stepper})["a"] is stepper
        assert repr(stepper).startswith(f"Stepper(3, 4: {path} LSTM")
        with pytest.raises(TenorError, match="cannot be pickled"):
            pickle.dumps(stepper)


def test_other_layers_are_refused():
    with pytest.raises(TenorError, match=r"A Stepper takes tenor\.cells' RNN, GRU or LSTM, not torch\.nn\.modules\.rnn\.LSTM"):
        Stepper(torch.nn.LSTM(3, 4))
    with pytest.raises(TenorError, match="not float16"):
        Stepper(LSTM(3, 4).half())


def test_what_no_kernel_has_has_no_path_and_meta_has_shapes():
    assert LSTM(3, 4).half().path.startswith("none: On a CPU the products can be")
    layer = LSTM(3, 4, device="meta")
    assert layer.path.startswith("torch")
    out, (h, c) = layer(torch.empty(5, 2, 3, device="meta"))
    assert out.shape == (5, 2, 4) and h.shape == c.shape == (1, 2, 4)
