"""Reading words with frozen weights: each format and instruction set against the specification on the looked-up vectors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurrent import ISAS, TIGHT
from tenor.cells import native, reference
from tenor.cells.reader import Reader
from tenor.errors import TenorError

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())
CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
EIGHT_BIT = ("amx", "avx512_bf16", "avx512", "avx2")  # instruction sets
TWO_IN_16_BITS = ("avx512", "avx2")  # those that add two products in 16 bits
EIGHT = pytest.mark.skipif(not native.available() or native.isa() not in EIGHT_BIT, reason="8-bit products need AVX2, which this CPU has not")
FORMATS = [torch.float32, torch.bfloat16, pytest.param(torch.int8, marks=EIGHT)]


class Case:
    """Random frozen weights and packed ids."""

    def __init__(self, cell, lengths, size, hidden, directions, bias=True, seed=0):
        random = torch.Generator().manual_seed(seed)
        self.cell, self.lengths, self.hidden, self.directions = cell, sorted(lengths, reverse=True), hidden, directions
        shapes = [(GATES[cell] * hidden, size), (GATES[cell] * hidden, hidden), *[(GATES[cell] * hidden,)] * 2]
        self.weights = [tuple(self._draw(s, random) if bias or len(s) == 2 else None for s in shapes) for _ in range(directions)]
        self.embedding = torch.randn(223, size, generator=random)  # more words than are folded at a time
        self.rows = [torch.randint(223, (n,), generator=random) for n in self.lengths]

    @staticmethod
    def _draw(shape, random):
        return torch.randn(*shape, generator=random) * (0.5 if len(shape) == 1 else 1 / math.sqrt(shape[1]))

    def reader(self, compute=torch.float32):
        return Reader(self.cell, self.embedding, self.weights, compute)

    def packed(self, chosen=None):
        """ids and batch_sizes of the chosen rows, in their order."""
        return packed([self.rows[i] for i in (range(len(self.rows)) if chosen is None else chosen)])

    def results(self, compute=torch.float32, chosen=None, reader=None):
        """pooled [B, 2*D*H] and last [D, B, H]"""
        reader = reader or self.reader(compute)
        return reader.pooled(*self.packed(chosen)), reader.last(*self.packed(chosen))

    def wanted(self, compute=torch.float32, looked_up=False):
        """The specification on the words' vectors, or on what the tables hold of them, pooled a row at a time."""
        ids, sizes = self.packed()
        embedding, weights = self.looked_up() if looked_up else (self.embedding, self.weights)
        zeros = torch.zeros(self.directions, len(self.rows), self.hidden)
        out, last, _ = reference.run(self.cell, embedding[ids], sizes, zeros, zeros if self.cell == "lstm" else None, weights, compute)
        of = torch.cat([torch.arange(n) for n in sizes.tolist()])
        parts = [out[of == b] for b in range(len(self.rows))]
        return torch.stack([torch.cat((part.amax(0), part.mean(0))) for part in parts]), last

    def looked_up(self):
        """The same layer on what its tables hold: the input's product with its biases, rounded to bfloat16, both directions side by side."""
        tables, weights, wide = [], [], GATES[self.cell] * self.hidden
        for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(self.weights):
            zeros = torch.zeros(wide)
            b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
            kept = torch.arange(wide) >= 2 * self.hidden if self.cell == "gru" else zeros.bool()  # the reset gate's b_hn is not of the input's sum
            tables.append(rounded(rounded(self.embedding) @ rounded(w_ih).T + b_ih + b_hh.masked_fill(kept, 0)))
            weights.append((torch.eye(wide, wide * self.directions).roll(wide * d, 1), w_hh, zeros, b_hh.masked_fill(~kept, 0)))
        return torch.cat(tables, 1), weights

    def in_8_bits(self, isa):
        """The same with W_hh in steps of a 127th of each line's greatest (or of two side by side), h in 127ths and what is looked up as bfloat16; a row at a time.

        It is the reader's own h that is rounded before each step (asked of it as the last of so many steps): tanh is off by 1.2e-4 at most, and near the middle of two 127ths that would decide for the other.
        """
        finals, pooled, hidden, reader = [], [], self.hidden, self.reader(torch.int8)
        for row in self.rows:
            outs = []
            for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(self.weights):
                zeros = torch.zeros(len(w_ih))
                b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
                apart = torch.arange(len(w_ih)) >= 2 * hidden if self.cell == "gru" else zeros.bool()  # the reset gate's b_hn is not of the input's sum
                pairs = torch.nn.functional.pad(w_hh, (0, hidden % 2)).unflatten(1, (-1, 2)).sum(2)
                step = torch.cat((w_hh, pairs) if isa in TWO_IN_16_BITS else (w_hh,), 1).abs().amax(1, keepdim=True) / 127
                whole = (w_hh / step).round() * step
                h = c = before = torch.zeros(1, hidden)
                so_far = [row[:t] if d == 0 else row[len(row) - t :] for t in range(len(row), 0, -1)]
                states = reader.last(*packed(so_far))[d].flip(0)
                for i, state in zip(row.tolist() if d == 0 else reversed(row.tolist()), states, strict=True):
                    wx = rounded(rounded(w_ih) @ rounded(self.embedding[i]) + b_ih + b_hh.masked_fill(apart, 0))
                    wh = (before * 127).round() / 127 @ whole.T + rounded(b_hh.masked_fill(~apart, 0))
                    h, c = reference.STEPS[self.cell](wx[None], wh, h, c)
                    before = state[None]
                    outs.append(h)
                finals.append(h)
            out = torch.cat(outs).view(self.directions, len(row), hidden)  # the second direction's steps run backwards, which pooling does not mind
            pooled.append(torch.cat((out.amax(1).flatten(), out.mean(1).flatten())))
        return torch.stack(pooled), torch.cat(finals).view(len(self.rows), self.directions, hidden).transpose(0, 1)


def packed(rows):
    """ids and batch_sizes, of the longest row first."""
    steps = [[int(row[t]) for row in rows if len(row) > t] for t in range(len(rows[0]))]
    return torch.tensor([i for step in steps for i in step]), torch.tensor([len(step) for step in steps])


def rounded(x):
    return reference.operand(x, torch.bfloat16)


def apart(got, wanted):
    return float((got - wanted).norm()) / (float(wanted.norm()) + 0.1 * wanted.numel() ** 0.5)


def cases(cell):
    lengths = st.lists(st.integers(1, 9), min_size=1, max_size=20)  # up to 20 rows: more than any tile has
    return st.builds(Case, st.just(cell), lengths, st.integers(1, 40), st.integers(1, 70), st.integers(1, 2), st.booleans(), st.integers(0, 2**20))


def on_each(case, compute, check, looked_up=False):
    """Every instruction set of this CPU."""
    for name in ISAS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TENOR_ISA", name)
            for got, wanted, what in zip(case.results(compute), case.wanted(compute, looked_up), ("pooled", "last"), strict=True):
                check(got, wanted, f"{name}, {what}")


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=20)
@given(data=st.data())
def test_float32_equals_the_specification(cell, data):
    on_each(data.draw(cases(cell)), torch.float32, lambda got, wanted, what: torch.testing.assert_close(got, wanted, **TIGHT[torch.float32], msg=lambda m: f"{what}: {m}"))


# Of 1,000 random cases the farthest were 0.0012 apart: a state near the middle of two bfloat16 numbers is rounded otherwise.
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=20)
@given(data=st.data())
def test_bfloat16_is_near_the_specification(cell, data):
    def check(got, wanted, what):
        assert apart(got, wanted) < 0.01, what

    on_each(data.draw(cases(cell)), torch.bfloat16, check, looked_up=True)


# Equal to what tanh is off by, 1.2e-4 at most in a step, and what steps make of it.
@EIGHT
@pytest.mark.parametrize("cell", CELLS[:3])
@settings(max_examples=20)
@given(data=st.data())
def test_8_bits_are_rounded_as_described(cell, data):
    case = data.draw(cases(cell))
    for name in [n for n in ISAS if n in EIGHT_BIT]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TENOR_ISA", name)
            for got, wanted, what in zip(case.results(torch.int8), case.in_8_bits(name), ("pooled", "last"), strict=True):
                assert apart(got, wanted) < 1e-3, f"{name}, {what}"


@EIGHT
@pytest.mark.parametrize("cell", CELLS[:3])
def test_most_numbers_of_8_bits_are_off_by_no_more_than_tanh_is(cell):
    case = Case(cell, [6, 6, 5, 4, 2, 2, 1], 17, 45, 2, seed=9)
    for i, (got, exact, unrounded) in enumerate(zip(case.results(torch.int8), case.in_8_bits(native.isa()), case.wanted(), strict=True)):
        assert float((got - exact).abs().median()) < 5e-5, i
        assert 1e-4 < float((got - unrounded).abs().median()) < 0.02, i  # near it, and not the same


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("compute", FORMATS, ids=str)
@pytest.mark.parametrize(("cell", "directions", "hidden"), [("lstm", 1, 53), ("lstm", 2, 53), ("gru", 1, 53), ("rnn_tanh", 2, 53), ("lstm", 1, 150), ("gru", 2, 133), ("rnn_tanh", 1, 200)])
def test_a_row_has_the_same_bits_in_any_batch_and_on_any_threads(cell, directions, hidden, compute, threads):
    case = Case(cell, [160] * 17 + [159, 90, 90, 41, 41, 8, 3, 2, 1, 1], 13, hidden, directions, seed=8)
    threads(1)
    pooled, last = case.results(compute)
    for count in (2, 5):
        threads(count)
        for a, b in zip(case.results(compute), (pooled, last), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    reader = case.reader(compute)
    for chosen in ([0], [19], [26], [3, 18], [1, 2, 19, 24, 26], list(range(0, 27, 2))):
        a, b = case.results(reader=reader, chosen=chosen)
        torch.testing.assert_close(a, pooled[chosen], rtol=0, atol=0)
        torch.testing.assert_close(b, last[:, chosen], rtol=0, atol=0)


@pytest.mark.parametrize("compute", FORMATS, ids=str)
@pytest.mark.parametrize("cell", CELLS[:3])
def test_states_at_their_bounds(cell, compute):
    """All sums are whole and far from 0, so every gate and state is at an end of its range, and no format has anything to round."""
    case = Case(cell, [14, 14, 13, 9, 2, 1], 13, 38, 2, seed=5)
    random = torch.Generator().manual_seed(6)

    def signs(*shape):
        return torch.randint(2, shape, generator=random) * 2.0 - 1

    case.embedding = signs(*case.embedding.shape)
    biased = (signs(152) if cell == "lstm" else torch.zeros(GATES[cell] * 38)) * 4000
    if cell == "lstm":
        biased.view(4, 38)[[0, 1, 3]] = 4000.0  # all gates are open: the cell counts the steps, by one sign
    case.weights = [(16 * signs(*w_ih.shape), 32 * signs(*w_hh.shape), biased, None) for w_ih, w_hh, _, _ in case.weights]  # 16 times an odd, and an even number
    for got, wanted in zip(case.results(compute), case.wanted(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1.2e-4 if compute == torch.int8 else 1e-6)  # between the ends the first cells' tanh(1) and tanh(2)
    last = case.results(compute)[1]
    assert float((last[0, :2] - last[0, :2].round()).abs().max()) < 1e-6  # -1 or 1 after 14 steps; of the GRU 0 too, where it never opened
    assert 0.99999 < float(last.max()) <= 1 and -1 <= float(last.min()) < -0.99999


def spoilt(cell, place):
    """A case with one NaN in a word's vector or in a weight."""
    case = Case(cell, [7, 6, 2, 1], 9, 21, 1, seed=2)
    if place == "embedding":
        case.rows = [row.clamp(min=1) for row in case.rows]
        case.embedding[0, 4] = math.nan
        case.rows[1][2] = 0  # a row, and not its first step
    else:
        case.weights[0][["w_ih", "w_hh", "b_ih", "b_hh"].index(place)].view(-1)[-2] = math.nan
    return case


PLACES = ["embedding", "w_ih", "w_hh", "b_ih", "b_hh"]


@pytest.mark.parametrize("compute", FORMATS[:2], ids=str)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("place", PLACES)
def test_not_a_number_reaches_all_that_the_specification_says(cell, compute, place):
    def check(got, wanted, what):
        assert wanted.isnan().any() and torch.equal(got.isnan(), wanted.isnan()), what

    on_each(spoilt(cell, place), compute, check)


@EIGHT
@pytest.mark.parametrize("cell", CELLS[:3])
@pytest.mark.parametrize("place", PLACES)
def test_8_bits_are_refused_where_they_cannot_say_it(cell, place):
    with pytest.raises(TenorError, match="finite weights"):
        spoilt(cell, place).reader(torch.int8)


def test_later_changes_of_the_weights_do_not_reach_it():
    for compute in [torch.float32, torch.bfloat16, *[torch.int8] * (native.isa() in EIGHT_BIT)]:
        case = Case("lstm", [9, 4, 1], 7, 19, 2, seed=3)
        reader = case.reader(compute)
        before = case.results(reader=reader)
        for tensor in (case.embedding, *(w for direction in case.weights for w in direction)):
            tensor.fill_(math.nan)
        del case.weights
        for a, b in zip(case.results(reader=reader), before, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_parameters_and_any_layout_are_taken():
    case = Case("gru", [5, 3], 6, 17, 1, seed=4)
    wanted = case.results()
    case.embedding = torch.nn.Parameter(case.embedding.T.contiguous().T)
    case.weights = [tuple(torch.nn.Parameter(w.T.contiguous().T if w.dim() == 2 else w) for w in case.weights[0])]
    ids, sizes = case.packed()
    reader = case.reader()
    strided = torch.stack([ids, ids], 1)[:, 0]
    assert not strided.is_contiguous() and not case.embedding.is_contiguous()
    for a, b in zip((reader.pooled(strided, sizes), reader.last(strided, sizes)), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_no_rows():
    none = torch.empty(0, dtype=torch.int64)
    reader = Case("gru", [1], 3, 5, 2).reader()
    assert reader.pooled(none, none).shape == (0, 20) and reader.last(none, none).shape == (2, 0, 5)


@pytest.mark.parametrize(
    ("ids", "sizes", "wanted"),
    [
        (torch.tensor([0, 223, 1]), [2, 1], "Token ids must be from 0 to 222, the rows of the embedding; got 0 to 223"),
        (torch.tensor([0, -1, 1]), [2, 1], "got -1 to 1"),
        (torch.tensor([0, 1, 1], dtype=torch.int32), [2, 1], "ids is [N] int64 on the CPU; got [3] torch.int32"),
        (torch.tensor([[0], [1], [1]]), [2, 1], "ids is [N] int64 on the CPU; got [3, 1]"),
        (torch.tensor([0, 1, 1]), [2, 2], "must add up to the 3 packed rows; got 4"),
        (torch.tensor([0, 1, 1]), [1, 2], "batch_sizes must descend"),
        (torch.tensor([0, 1, 1]), [3, 0], "to at least 1"),
    ],
)
def test_what_does_not_fit_is_an_error(ids, sizes, wanted):
    reader = Case("lstm", [1], 3, 5, 1).reader()
    for read in (reader.pooled, reader.last):
        with pytest.raises(TenorError) as error:
            read(ids, torch.tensor(sizes))
        assert wanted in str(error.value)


@pytest.mark.parametrize("name", ISAS)
def test_8_bits_are_refused_where_they_cannot_be(name, monkeypatch):
    monkeypatch.setenv("TENOR_ISA", name)
    with pytest.raises(TenorError, match="those of rnn_relu have no bound"):
        Case("rnn_relu", [1], 3, 5, 1).reader(torch.int8)
    if name not in EIGHT_BIT:
        cause = f"which this CPU has and TENOR_ISA={name} forbids" if set(EIGHT_BIT) & set(native.isas()) else "which this CPU has not"
        with pytest.raises(TenorError, match=f"8-bit products need AVX2, {cause}"):
            Case("lstm", [1], 3, 5, 1).reader(torch.int8)


def test_without_the_engine_there_is_no_reader(monkeypatch):
    case = Case("lstm", [1], 3, 5, 1)
    monkeypatch.setattr(native, "available", lambda: False)
    with pytest.raises(TenorError, match="needs the engine"):
        case.reader()


def misfits():
    """Larger than they should be, so that whoever does not check reads nothing that is not theirs."""
    case, other = Case("lstm", [1], 4, 5, 2), Case("lstm", [1], 6, 7, 2)
    first, second = case.weights
    w_ih, w_hh, b_ih, b_hh = first
    return {
        "another input size": ([(other.weights[0][0][:20], w_hh, b_ih, b_hh)], torch.float32, "lstm"),
        "too many gates": ([(w_ih, torch.cat([w_hh, w_hh]), b_ih, b_hh)], torch.float32, "lstm"),
        "a longer bias": ([(w_ih, w_hh, torch.cat([b_ih, b_ih]), b_hh)], torch.float32, "lstm"),
        "another second direction": ([first, other.weights[1]], torch.float32, "lstm"),
        "no direction": ([], torch.float32, "lstm"),
        "a format that it has not": ([first, second], torch.float16, "lstm"),
        "an unknown cell": ([first], torch.float32, "ltsm"),
    }


@pytest.mark.parametrize("name", misfits())
def test_weights_that_do_not_fit_are_an_error(name):
    weights, compute, cell = misfits()[name]
    with pytest.raises(TenorError):
        Reader(cell, torch.randn(9, 4), weights, compute)


def test_float64_is_refused_or_right():
    case = Case("lstm", [3, 1], 4, 5, 1)
    try:
        found = case.results(torch.float64)
    except TenorError:
        return
    for got, wanted in zip(found, case.wanted(), strict=True):
        torch.testing.assert_close(got, wanted)
