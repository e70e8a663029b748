"""The layers in the place of torch.nn's: arguments, state dict, forms of input, lengths, dropouts, steps, errors."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from recurrent import OURS, PATHS, Problem, forced
from tenor.cells import GRU, LSTM, RNN
from tenor.errors import TenorError

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
CELLS = list(OURS)


def tensors(last):
    return last if isinstance(last, tuple) else (last,)


def states_of(layer, rows):
    h = torch.randn(layer.num_layers * layer.directions, rows, layer.hidden_size)
    return (h, torch.randn_like(h)) if layer.cell == "lstm" else h


def unit(value, hidden=4, **more):
    """h' = max(0, x + value * h): what a dropout does can be read off."""
    layer = RNN(hidden, hidden, 1, "relu", False, **more)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.eye(hidden))
        layer.weight_hh_l0.copy_(value * torch.eye(hidden))
    return layer


@pytest.mark.parametrize(
    ("ours", "theirs", "given"),
    [
        (LSTM, nn.LSTM, (3, 5, 2, False, True, 0.5, True, 2)),
        (LSTM, nn.LSTM, (3, 5)),
        (GRU, nn.GRU, (3, 5, 2, True, True, 0.25, True)),
        (RNN, nn.RNN, (3, 5, 2, "relu", False, True, 0.25, True)),
        (RNN, nn.RNN, (3, 5)),
    ],
)
def test_arguments_initial_values_and_state_dict_are_torch_nns(ours, theirs, given):
    more = {"device": "cpu", "dtype": torch.float64} if len(given) > 2 else {}
    torch.manual_seed(1)
    a = ours(*given, **more)
    torch.manual_seed(1)
    b = theirs(*given, **more)
    assert list(a.state_dict()) == list(b.state_dict())
    assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a.parameters(), b.parameters(), strict=True))  # the same draws
    assert [[w.shape for w in ws] for ws in a.all_weights] == [[w.shape for w in ws] for ws in b.all_weights]
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"):
        assert getattr(a, name) == getattr(b, name), name
    a.reset_parameters()
    b.load_state_dict(a.state_dict())
    a.eval(), b.eval()
    a.flatten_parameters()
    x = torch.randn(2, 4, 3, dtype=a.weight_ih_l0.dtype)
    torch.testing.assert_close(a(x), b(x), **CLOSE)
    a.load_state_dict(b.state_dict())
    torch.testing.assert_close(copy.deepcopy(a)(x), b(x), **CLOSE)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_form_of_input_gives_what_torch_nn_gives(cell, path):
    problem = Problem((), 3, 5, layers=2, seed=4)
    theirs = problem.layer(cell, torchs=True)
    with forced(path):
        ours = problem.layer(cell)
        x, hx = torch.randn(6, 4, 3), states_of(ours, 4)
        lengths = [2, 6, 1, 4]
        rows_first = problem.layer(cell, batch_first=True)
        for first in (None, hx):
            alone = None if first is None else tuple(s[:, 1] for s in tensors(first)) if cell == "lstm" else first[:, 1]
            turned = x.transpose(0, 1)
            wanted = theirs(x, first)
            torch.testing.assert_close(ours(x, first), wanted, **CLOSE)
            got = rows_first(turned, first)
            torch.testing.assert_close((got[0].transpose(0, 1), got[1]), wanted, **CLOSE)
            torch.testing.assert_close(ours(x[:, 1], alone), theirs(x[:, 1], alone), **CLOSE)
            torch.testing.assert_close(rows_first(x[:, 1], alone), theirs(x[:, 1], alone), **CLOSE)
            packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
            got, wanted = ours(packed, first), theirs(packed, first)
            torch.testing.assert_close((got[0].data, got[1]), (wanted[0].data, wanted[1]), **CLOSE)
            padded = pad_packed_sequence(got[0])[0]
            assert torch.equal(padded, pad_packed_sequence(PackedSequence(got[0].data, *packed[1:]))[0])  # the same order of rows
            torch.testing.assert_close(ours(x, first, lengths=lengths), (padded, got[1]), rtol=0, atol=0)
            out, last = rows_first(turned, first, lengths=torch.tensor(lengths))
            torch.testing.assert_close((out, last), (padded.transpose(0, 1), got[1]), rtol=0, atol=0)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing_bit_for_bit(cell, path, batch_first):
    problem, lengths = Problem((), 3, 5, layers=2), [3, 0, 5, 1]
    torch.manual_seed(2)
    x = torch.randn(5, 4, 3)
    with forced(path):
        layer = problem.layer(cell, batch_first=batch_first)
        hx = states_of(layer, 4)
        found = []
        for filler, more in ((0.0, 0), (torch.nan, 0), (torch.inf, 3)):
            padded = torch.cat((x, torch.zeros(more, 4, 3)))
            for row, n in enumerate(lengths):
                padded[n:, row] = filler
            given = (padded.transpose(0, 1) if batch_first else padded).requires_grad_()
            out, last = layer(given, hx, lengths=lengths)
            (gradient,) = torch.autograd.grad(out.sum() + sum(s.sum() for s in tensors(last)), given)
            out, gradient = (t.transpose(0, 1) if batch_first else t for t in (out, gradient))
            assert out.shape == (5 + more, 4, 10)
            for row, n in enumerate(lengths):
                assert not out[n:, row].any() and not gradient[n:, row].any()  # exactly 0, and no NaN
                assert n == 0 or gradient[:n, row].abs().min() > 0 or "relu" in cell
            found.append((out[:5], gradient[:5], *tensors(last)))
        assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
        for end, first in zip(tensors(last), tensors(hx), strict=True):
            assert torch.equal(end[:, 1], first[:, 1])  # a row of length 0 keeps its states


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_run_equals_repeated_step(cell, path):
    with forced(path), torch.no_grad():
        layer = Problem((), 3, 20, layers=2, two=False).layer(cell).eval()
        x, hx = torch.randn(7, 5, 3), states_of(layer, 5)
        for first in (None, hx):
            out, last = layer(x, first)
            now, outs = first, []
            for step in x:
                one, now = layer.step(step, now)
                outs.append(one)
            torch.testing.assert_close((torch.stack(outs), now), (out, last), **CLOSE)


@pytest.mark.parametrize("path", PATHS)
def test_rows_without_tokens(path):
    with forced(path):
        layer = GRU(3, 4, bidirectional=True)
        hx = torch.randn(2, 2, 4)
        out, last = layer(torch.full((5, 2, 3), torch.nan), hx, lengths=[0, 0])
        assert out.shape == (5, 2, 8) and not out.any() and torch.equal(last, hx)
        assert layer(torch.randn(5, 0, 3))[0].shape == (5, 0, 8)
        assert layer(torch.randn(5, 0, 3), lengths=[])[0].shape == (5, 0, 8)


def test_compute_is_the_parameters_format_or_autocasts_or_the_callers():
    x = torch.randn(9, 4, 30)
    layer = GRU(30, 40)
    assert "float32" in layer.path and "bfloat16" in GRU(30, 40, compute=torch.bfloat16).path
    exact = layer(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert "bfloat16" in layer.path
        coarse = layer(x)[0]
        assert coarse.dtype == torch.float32 and 1e-4 < (coarse - exact).abs().max() < 0.05
        fixed = GRU(30, 40, compute=torch.float32)
        fixed.load_state_dict(layer.state_dict())
        assert torch.equal(fixed(x)[0], exact)  # what the caller asked for stays
        assert layer(x.bfloat16())[0].dtype == torch.bfloat16
    narrow = LSTM(30, 40, dtype=torch.bfloat16)
    out, (h, c) = narrow(x.bfloat16())
    assert out.dtype == h.dtype == c.dtype == torch.bfloat16


@pytest.mark.parametrize("path", ["reference", "native", "torch"])
def test_variational_dropout_draws_once_a_row(path):
    torch.manual_seed(3)
    with forced(path):
        layer = unit(0.0, 50, variational_dropout=0.25)
        x = torch.ones(6, 40, 50)
        lengths = [6, 2, *[4] * 38]
        out = layer(x, lengths=lengths)[0]
        assert out[0].unique().tolist() == pytest.approx([0, 4 / 3])
        assert torch.equal(out[:4, 2:], out[:1, 2:].expand(4, -1, -1))  # one mask for all steps
        assert torch.equal(out[:, 0], out[:1, 0].expand(6, -1)) and not torch.equal(out[0, 0], out[0, 1])
        assert abs(out[0].mean().item() - 1) < 0.05  # 2,000 draws: four standard deviations
        assert not torch.equal(layer(x)[0][0], out[0])
        assert torch.equal(layer.eval()(x)[0], x)


@pytest.mark.parametrize("path", ["reference", "native"])
def test_recurrent_dropout_draws_once_a_row(path):
    torch.manual_seed(4)
    with forced(path):
        layer = unit(1.0, 50, recurrent_dropout=0.5)
        start = torch.ones(1, 40, 50)
        out, last = layer(torch.zeros(4, 40, 50), start)
        mask = out[0]  # 0 or 2
        assert set(mask.unique().tolist()) == {0.0, 2.0} and abs(mask.mean().item() - 1) < 0.1
        for t in range(4):
            assert torch.equal(out[t], mask ** (t + 1))  # the same at every step
        assert not torch.equal(mask[0], mask[1]) and torch.equal(last[0], out[-1])
        assert torch.equal(layer.eval()(torch.zeros(4, 40, 50), start)[0][3], start[0])
        gru = GRU(3, 4, recurrent_dropout=0.5)  # the state itself is not masked: with z at 1 it stays
        with torch.no_grad():
            gru.bias_ih_l0[4:8] = 100.0
        first = torch.randn(1, 5, 4)
        torch.testing.assert_close(gru(torch.randn(6, 5, 3), first)[1], first)


@pytest.mark.parametrize("path", PATHS)
def test_weight_dropout_draws_once_a_pass(path):
    torch.manual_seed(5)
    with forced(path):
        layer = unit(1.0, 60, weight_dropout=0.5)
        x, start = torch.zeros(3, 2, 60), torch.ones(1, 2, 60)
        out, _ = layer(x, start)
        kept = out[0, 0]
        assert set(kept.unique().tolist()) == {0.0, 2.0}
        assert torch.equal(out[:, 0], torch.stack([kept, kept**2, kept**3])) and torch.equal(out[:, 0], out[:, 1])  # all steps, all rows
        assert not torch.equal(layer(x, start)[0], out)
        (gradient,) = torch.autograd.grad(out.sum(), layer.weight_hh_l0)
        assert bool(((gradient.diagonal() != 0) == (kept != 0)).all())
        mean = torch.stack([layer(x[:1], start)[0][0, 0] for _ in range(100)]).mean()
        assert abs(mean.item() - 1) < 0.06  # 6,000 draws: four standard deviations and more
        assert torch.equal(layer.eval()(x, start)[0][2], start[0]) and torch.equal(layer(x, start)[0], layer(x, start)[0])


def test_dropout_between_layers_leaves_the_last_ones_output():
    torch.manual_seed(6)
    layer = RNN(4, 4, 2, "relu", False, dropout=0.5)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.copy_(torch.eye(4) * ("ih" in name))
    out = layer(torch.ones(5, 30, 4))[0]
    assert set(out.unique().tolist()) == {0.0, 2.0} and not torch.equal(out[0], out[1])  # dropped once, anew at each step
    with pytest.warns(UserWarning, match="num_layers"):
        GRU(2, 3, dropout=0.1)


X = torch.zeros(5, 2, 3)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda: LSTM(0, 4, dropout=1.0, weight_dropout=-0.1), "input_size must be a whole number from 1, not 0; dropout must be a share from 0 to less than 1, not 1.0; weight_dropout"),
        (lambda: GRU(3, 4, 1, 0.5), "bias must be True or False, not 0.5"),
        (lambda: LSTM(3, 4, proj_size=4), "proj_size must be 0 or a whole number less than hidden_size, not 4"),
        (lambda: GRU(3, 4, compute=torch.int8), "compute must be None, torch.float32"),
        (lambda: RNN(3, 4, 1, "gelu"), "nonlinearity must be 'tanh' or 'relu', not 'gelu'."),
        (lambda: LSTM(3, 4)(X[0, 0]), "The shape of the input must be [steps, rows, features]"),
        (lambda: LSTM(3, 4)(X[:, :, :2]), "The last dimension of the input must be input_size, 3; its shape is [5, 2, 2]"),
        (lambda: LSTM(3, 4)(X.long()), "The numbers of the input must be floating point, not int64. Convert them with .float(), or embed"),
        (lambda: LSTM(3, 4)(X.double()), "The input is float64, where float32 is needed"),
        (lambda: LSTM(3, 4)(X.tolist()), "The input must be a tensor or a PackedSequence, not list"),
        (lambda: LSTM(3, 4)(pack_padded_sequence(X, [5, 5]), lengths=[5, 5]), "A PackedSequence brings its own lengths"),
        (lambda: LSTM(3, 4)(X, lengths=[5]), "lengths must be 2 whole numbers from 0 to 5, one for each row; these have shape [1]. Give [2], or set batch_first"),
        (lambda: LSTM(3, 4)(X, lengths=[5, -1]), "row 1 has -1. Cut the lengths"),
        (lambda: LSTM(3, 4)(X, lengths=torch.tensor([6, 2])), "row 0 has 6"),
        (lambda: LSTM(3, 4)(X, lengths=[5, 1.5]), "not float32. Convert them with .long()"),
        (lambda: LSTM(3, 4)(X, lengths="ab"), "not 'ab'. Give a list of int"),
        (lambda: LSTM(3, 4)(X, torch.zeros(1, 2, 4)), "hx must be the tuple (h0, c0) of two tensors, or None for zeros; it is a Tensor."),
        (lambda: GRU(3, 4)(X, (torch.zeros(1, 2, 4),) * 2), "hx must be one tensor, h0, or None for zeros; it is a tuple of 2."),
        (lambda: GRU(3, 4)(X, torch.zeros(1, 3, 4)), "h0 must have the shape [1, 2, 4], [layers * directions, rows, features]; it is [1, 3, 4]"),
        (lambda: GRU(3, 4)(X[:, 0], torch.zeros(1, 1, 4)), "h0 must have the shape [1, 4], [layers * directions, features] as the input is one row"),
        (lambda: LSTM(3, 4)(X, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4).double())), "c0 is float64, where float32 is needed"),
        (lambda: LSTM(3, 4, device="meta")(X), "The input is on cpu, where meta is needed"),
        (lambda: LSTM(3, 4, dtype=torch.float16)(X.half()), "On a CPU the products can be float32, bfloat16 or float64, not float16"),
        (lambda: LSTM(3, 4, bidirectional=True).step(X[0]), "step needs a layer of one direction"),
        (lambda: LSTM(3, 4).step(X), "step takes x of the shape [rows, features]; it is [5, 2, 3]"),
        (lambda: LSTM(3, 4, weight_dropout=0.1).step(X[0]), "step would draw anew at each step"),
    ],
)
def test_mistakes_say_the_rule_and_what_came(call, wanted):
    with pytest.raises(TenorError) as error:
        call()
    assert wanted in str(error.value)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("hidden", [7, 17, 32, 33])
@pytest.mark.parametrize("cell", CELLS)
def test_infinite_and_huge_inputs_reach_what_they_reach_in_the_specification(path, hidden, cell):
    """Units that fill a vector up must not turn infinity into NaN for the others."""
    for value in (math.inf, -math.inf, 3e38):
        found = []
        for kernel in ("reference", path):
            with forced(kernel):
                layer = Problem((), 3, hidden).layer(cell)
                x = torch.randn(5, 4, 3)
                x[1, 2, 1], x[3, 0] = value, torch.tensor([value, 0, 0])
                out, last = layer(x.requires_grad_(), lengths=[5, 4, 3, 1])
                found.append([out, *tensors(last)])
                out[:, 1].sum().backward()  # a row that holds neither
                found[-1] += [x.grad]
        for got, want in zip(found[1], found[0], strict=True):
            torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_caller_may_write_on_the_results(path, cell):
    with forced(path):
        layer, x = Problem((), 3, 5).layer(cell), torch.randn(6, 2, 3)
        grads = []
        for write in (lambda t: t * 2, lambda t: t.mul_(2)):
            layer.zero_grad()
            out, last = layer(x)
            sum(write(t).sum() for t in (out, *tensors(last))).backward()
            grads.append([p.grad.clone() for p in layer.parameters()])
        torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", CELLS)
def test_checkpoints_and_hooks_on_saved_tensors(path, cell):
    with forced(path):
        layer, x = Problem((), 3, 20).layer(cell), torch.randn(6, 2, 3, requires_grad=True)

        def gradients(run):
            layer.zero_grad()
            return torch.autograd.grad(run(x)[0].pow(2).sum(), [x, *layer.parameters()])

        wanted = gradients(layer)
        torch.testing.assert_close(gradients(lambda x: checkpoint(layer, x, use_reentrant=False)), wanted)
        if path == "torch":
            return  # torch 2.13's LSTM takes strides for granted there, and gives wrong gradients
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.t().contiguous().t() if t.dim() == 2 else t):
            torch.testing.assert_close(gradients(layer), wanted)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.bfloat16()):
            out = layer(x)[0].pow(2).sum()
        with pytest.raises((TenorError, RuntimeError)):
            out.backward()


def test_nothing_is_kept_after_the_backward_pass():
    with forced("native"):
        layer = LSTM(3, 20)
        loss = layer(torch.randn(6, 2, 3))[0].sum()
        node = loss.grad_fn
        while type(node).__name__ != "_NativeBackward":
            node = node.next_functions[0][0]
        assert len(node.saved_tensors) > 5
        loss.backward()
        with pytest.raises(RuntimeError, match="freed"):
            node.saved_tensors  # noqa: B018


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler asks for it
@pytest.mark.parametrize("cell", CELLS)
def test_compiled_it_gives_the_same(cell):
    """torch.compile takes the engine's call as it is. (The backend "eager" compiles to nothing, but traces all.)"""
    layer, x = Problem((), 3, 20).layer(cell), torch.randn(6, 2, 3)
    results = []
    for run in (layer, torch.compile(layer, backend="eager")):
        layer.zero_grad()
        out, _ = run(x)
        out.pow(2).sum().backward()
        results.append([out, *(p.grad.clone() for p in layer.parameters())])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_lengths_of_any_whole_kind(dtype):
    layer, x = GRU(3, 4), torch.randn(300, 2, 3)
    torch.testing.assert_close(layer(x, lengths=torch.tensor([100, 7], dtype=dtype)), layer(x, lengths=[100, 7]))
