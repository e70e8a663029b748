"""A Writer reads and draws as the layer, the product and `draw` do one after another."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from recurrent import OURS, forced
from tenor.cells import Stepper, native
from tenor.cells.reader import lacks_8_bits
from tenor.cells.writer import Writer
from tenor.errors import TenorError
from tenor.models.generate import Sampling, draw

needs_engine = pytest.mark.skipif(not native.available(), reason="the engine is not built")
V, SIZE = 33, 12


def problem(cell, layers, hidden, rows, compute=torch.float32, bias=True):
    torch.manual_seed(0)
    kind = {"nonlinearity": cell.removeprefix("rnn_")} if cell.startswith("rnn") else {}
    layer = OURS[cell](SIZE, hidden, layers, bias=bias, compute=compute, **kind)
    h = torch.randn(layers, rows, hidden).tanh()
    return layer, (h, torch.randn(layers, rows, hidden)) if cell == "lstm" else h, (torch.randn(V, SIZE), torch.randn(V, hidden) / hidden**0.5, torch.randn(V))


def stepped(layer, states, given, words):
    """words [N, B] -> the logits after each, [N, B, V]."""
    (embedding, weight, bias), stepper, found = given, Stepper(layer), []
    for now in words:
        out, states = stepper(embedding[now], states)
        found.append(torch.nn.functional.linear(out, weight, bias))
    return torch.stack(found)


@needs_engine
@pytest.mark.parametrize("cell", OURS)
@pytest.mark.parametrize(("layers", "hidden", "rows", "bias"), [(1, 20, 1, True), (2, 67, 3, True), (3, 40, 17, False)])
def test_it_reads_as_a_stepper_does(cell, layers, hidden, rows, bias):
    words = torch.arange(5 * rows).view(5, rows) * 7 % V
    formats = [(torch.float32, False, 2e-5), (torch.bfloat16, False, 3e-2)] + [(torch.bfloat16, True, 3e-2)] * (not lacks_8_bits(cell))
    for compute, eight, error in formats:
        layer, states, given = problem(cell, layers, hidden, rows, compute, bias)
        wanted = stepped(layer, states, given, words)
        writer = Writer(layer, *given, eight)
        for weight in layer.parameters():
            weight.data.fill_(torch.nan)  # it took them as they were
        for _ in range(2):  # to begin again forgets what came before
            writer.begin(states, torch.zeros(rows, V))
            got = torch.stack([writer.step(now) for now in words])
            torch.testing.assert_close(got, wanted, rtol=0, atol=error * max(1.0, float(wanted.abs().max())))
        if not eight:
            writer.begin_anew(rows)
            torch.testing.assert_close(writer.step(words[0]), stepped(problem(cell, layers, hidden, rows, compute, bias)[0], None, given, words[:1])[0], rtol=0, atol=error)


@needs_engine
@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (1, -1)])
def test_great_weights_side_by_side_do_not_overflow_in_a_second_layer(signs):
    """As in test_reader_8_bits, of the product with the layer below: all its states are 1."""
    if lacks_8_bits("rnn_tanh"):
        pytest.skip(lacks_8_bits("rnn_tanh"))
    layer, of = OURS["rnn_tanh"](SIZE, 9, 2), torch.tensor(signs).repeat(5)[:9] * 0.1
    for weight in layer.parameters():
        weight.data.zero_()
    layer.bias_ih_l0.data.fill_(40)
    layer.weight_ih_l1.data.copy_(torch.stack([of * scale for scale in torch.linspace(-1, 1, 9)]))
    writer = Writer(layer, torch.zeros(V, SIZE), torch.eye(V, 9), torch.zeros(V), eight_bits=True)
    writer.begin_anew(1)
    torch.testing.assert_close(writer.step(torch.tensor([0]))[0, :9], torch.tanh(layer.weight_ih_l1.detach().sum(1)), rtol=0, atol=0.01)


@needs_engine
@pytest.mark.parametrize("how", [{}, {"temperature": 0.5}, {"temperature": 0}, {"top_k": 1}, {"top_k": 4}, {"top_p": 0.6}, {"temperature": 3.0, "top_k": 9, "top_p": 0.9}])
def test_it_draws_as_draw_does(how):
    layer, states, given = problem("gru", 2, 20, 3)
    given[2][7] = -torch.inf  # never
    first, chances, sampling = torch.randn(3, V).double().float(), np.random.default_rng(1).random((40, 3)), Sampling(**how)
    writer = Writer(layer, *given)
    writer.begin(states, first)
    words = np.concatenate([writer.write(part, sampling.temperature, sampling.top_k, sampling.top_p) for part in (chances[:1], chances[1:16], chances[16:])])
    logits = torch.cat([first[None], stepped(layer, states, given, torch.from_numpy(words[:-1]))])
    np.testing.assert_array_equal(words, np.stack([draw(now.detach().numpy(), sampling, chance) for now, chance in zip(logits, chances, strict=True)]))
    assert 7 not in words[1:] and len(np.unique(words)) > 3


@needs_engine
def test_threads_and_rows_change_nothing():
    layer, states, given = problem("lstm", 2, 40, 19)
    chances, texts = np.random.default_rng(2).random((30, 19)), []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            writer = Writer(layer, *given)
            writer.begin(states, torch.zeros(19, V))
            texts.append(writer.write(chances, 1.0, 0, 1.0))
        finally:
            torch.set_num_threads(before)
    np.testing.assert_array_equal(*texts)
    writer.begin((states[0][:, 4:5], states[1][:, 4:5]), torch.zeros(1, V))
    np.testing.assert_array_equal(writer.write(chances[:, 4:5], 1.0, 0, 1.0)[:, 0], texts[0][:, 4])


@needs_engine
def test_bad_input_is_refused():
    layer, states, given = problem("gru", 2, 20, 3)
    writer = Writer(layer, *given)
    writer.begin(states, torch.zeros(3, V))
    for call, match in [
        (lambda: writer.begin(states[:1], torch.zeros(3, V)), "A Writer begins with 1 states"),
        (lambda: writer.begin(states, torch.zeros(2, V)), "A Writer begins with"),
        (lambda: writer.step(torch.tensor([0, V, 1])), "as many words below 33"),
        (lambda: writer.step(torch.tensor([0])), "began with 3 rows"),
        (lambda: writer.write(np.zeros((4, 2)), 1.0, 0, 1.0), r"chances \[N, 3\]"),
        (lambda: Writer(layer, given[0], given[1][:, :3], given[2]), "A Writer's weight is"),
        (lambda: Writer(OURS["rnn_relu"](SIZE, 20, nonlinearity="relu"), *given, eight_bits=True), "at most 1"),
    ]:
        with pytest.raises(TenorError, match=match):
            call()
    with forced("reference"), pytest.raises(TenorError, match="Use a Stepper"):
        Writer(layer, *given)


@needs_engine
def test_two_threads_share_one():
    layer, states, given = problem("gru", 1, 40, 9)
    writer = Writer(layer, *given)
    wanted = []
    for _ in range(2):
        writer.begin(states, torch.zeros(9, V))
        wanted.append(writer.write(np.full((40, 9), 0.3), 1.0, 0, 1.0))
    assert (wanted[0] == wanted[1]).all()

    def begin_and_write(_):
        writer.begin_anew(9)
        return writer.write(np.full((40, 9), 0.3), 1.0, 0, 1.0)

    with ThreadPoolExecutor(4) as pool:
        assert all(((words >= 0) & (words < V)).all() for words in pool.map(begin_and_write, range(200)))


@needs_engine
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chances": np.ones((1, 3))}, "at least 0 and below 1"), ({"chances": np.full((1, 3), np.nan)}, "at least 0 and below 1"), ({"chances": np.zeros((1, 2))}, "draws by chances"),
        ({"temperature": -1.0}, "at least 0"), ({"top_k": -3}, "at least 0"), ({"top_p": 0.0}, "top_p is above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(change, said):
    layer, states, given = problem("gru", 1, 20, 3)
    writer = Writer(layer, *given)
    writer.begin(states, torch.zeros(3, V))
    asked = {"chances": np.zeros((1, 3)), "temperature": 1.0, "top_k": 0, "top_p": 1.0} | change
    with pytest.raises(TenorError, match=said):
        writer.write(*asked.values())
    with pytest.raises(TenorError, match="whole numbers"):
        writer.step(torch.zeros(3))
    given[0][2, 2] = torch.nan
    with pytest.raises(TenorError, match="finite weights"):
        Writer(layer, *given)
