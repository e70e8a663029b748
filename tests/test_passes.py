"""The passes around a recurrence: the embedding with its dropouts, and pooling, in the engine and in torch, against a computation of their own."""

import math
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tenor.cells import native
from tenor.cells.passes import embed, max_mean
from tenor.errors import TenorError

PATHS = ["engine", "torch"]
LONG = [411] * 20 + [90, 3, 1]  # with 37 features 300,000 numbers: from 262,144 on a second thread has a part


@contextmanager
def on(path, threads=1):
    if path == "engine" and not native.available():
        pytest.skip(native.why_not())
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        if path == "torch":
            patch.setattr(native, "available", lambda: False)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def packing(lengths):
    """Of sequences in descending order: batch_sizes, and of each packed row its sequence."""
    lengths = sorted(lengths, reverse=True)
    sizes = torch.tensor([sum(n > t for n in lengths) for t in range(lengths[0])], dtype=torch.int64)
    return sizes, torch.cat([torch.arange(n) for n in sizes.tolist()])


def close(got, wanted):
    """Sums of up to thousands of values around 1, in another order."""
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5 * (1 + float(wanted.detach().abs().max()) if wanted.numel() else 1))


class Embedding:
    """Random arguments, few words so that they repeat, and all of it written with dense torch."""

    def __init__(self, lengths, width, vocabulary, scaled, masked, seed):
        random = torch.Generator().manual_seed(seed)
        self.sizes, self.rows = packing(lengths)
        tokens = len(self.rows)
        self.table = torch.randn(vocabulary, width, generator=random).requires_grad_()
        self.ids = torch.randint(vocabulary, (tokens,), generator=random)
        self.scale = torch.rand(tokens, generator=random) * (torch.rand(tokens, generator=random) < 0.8) if scaled else None  # some are 0
        self.mask = torch.rand(len(lengths), width, generator=random) * (torch.rand(len(lengths), width, generator=random) < 0.7) if masked else None
        self.cotangent = torch.randn(tokens, width, generator=random)

    def wanted(self):
        x = F.embedding(self.ids, self.table)
        x = x if self.scale is None else x * self.scale[:, None]
        x = x if self.mask is None else x * self.mask[self.rows]
        return x.detach(), *torch.autograd.grad(x, self.table, self.cotangent)

    def found(self):
        x = embed(self.table, self.ids, self.sizes, self.scale, self.mask)
        return x.detach(), *torch.autograd.grad(x, self.table, self.cotangent)

    def check(self):
        (x, gradient), (wanted_x, wanted_gradient) = self.found(), self.wanted()
        close(x, wanted_x)
        assert gradient.is_sparse and gradient.shape == self.table.shape
        gradient = gradient if native.available() else gradient.coalesce()
        assert gradient.is_coalesced()
        assert gradient.indices().tolist() == [sorted(set(self.ids.tolist()))]  # the invariants that the engine's path does not let torch check
        close(gradient.to_dense(), wanted_gradient)


lengths_of = st.lists(st.integers(1, 9), min_size=1, max_size=7)
embeddings = st.builds(Embedding, lengths_of, st.integers(1, 70), st.integers(1, 12), st.booleans(), st.booleans(), st.integers(0, 2**20))


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40)
@given(case=embeddings)
def test_embed_and_its_sparse_gradient_equal_dense_torch(path, case):
    with on(path):
        case.check()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_embed_on_threads(path, threads):
    with on(path, threads):
        Embedding(LONG, 37, 50, True, True, 3).check()
        Embedding(LONG, 37, 1, False, False, 4).check()  # one word alone


def test_embed_takes_what_is_not_contiguous():
    case = Embedding([5, 4, 1], 6, 9, True, True, 1)
    wanted = case.wanted()
    case.table = case.table.detach().T.contiguous().T.requires_grad_()
    case.ids, case.scale = (torch.stack([t, t], 1)[:, 0] for t in (case.ids, case.scale))
    case.mask, case.cotangent = case.mask.T.contiguous().T, case.cotangent.T.contiguous().T
    assert not any(t.is_contiguous() for t in (case.table, case.ids, case.scale, case.mask, case.cotangent))
    for path in PATHS:
        with on(path):
            x, gradient = case.found()
        close(x, wanted[0])
        close(gradient.to_dense(), wanted[1])


def test_the_engine_is_taken_where_it_can():
    case = Embedding([3, 1], 4, 5, False, False, 0)
    with on("engine"):
        assert type(embed(case.table, case.ids, case.sizes).grad_fn).__name__ == "_EmbedBackward"
        assert type(max_mean(case.cotangent.requires_grad_(), case.sizes).grad_fn).__name__ == "_MaxMeanBackward"
        wide = case.table.detach().double()
        torch.testing.assert_close(embed(wide, case.ids, case.sizes), wide[case.ids])  # the engine knows float32 alone
        assert max_mean(case.cotangent.detach().double(), case.sizes).dtype == torch.float64


TABLE, IDS, SIZES = torch.randn(4, 3), torch.tensor([0, 3, 1]), torch.tensor([2, 1])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((TABLE, torch.tensor([0, 4, 1]), SIZES), "Token ids must be from 0 to 3, the rows of the embedding; got 0 to 4"),
        ((TABLE, torch.tensor([0, -1, 1]), SIZES), "got -1 to 1"),
        ((TABLE, IDS, torch.tensor([2, 2])), "batch_sizes must add up to the 3 packed rows; got 4"),
        ((TABLE, IDS, SIZES, torch.ones(2)), "got [[2], None]"),
        ((TABLE, IDS, SIZES, torch.ones(3, 1)), "got [[3, 1], None]"),
        ((TABLE, IDS, SIZES, None, torch.ones(3, 3)), "got [None, [3, 3]] for 3 tokens in 2 rows"),
        ((TABLE, IDS, SIZES, None, torch.ones(2, 1)), "got [None, [2, 1]]"),
    ],
)
def test_what_does_not_fit_is_an_error(path, arguments, wanted):
    with on(path), pytest.raises(TenorError) as error:
        embed(*arguments)
    assert wanted in str(error.value)


@pytest.mark.parametrize("path", PATHS)
def test_pooling_refuses_other_rows(path):
    with on(path), pytest.raises(TenorError, match="must add up to the 3 packed rows; got 4"):
        max_mean(torch.randn(3, 2), torch.tensor([2, 2]))


def test_no_tokens():
    none = torch.empty(0, dtype=torch.int64)
    table = torch.randn(4, 3, requires_grad=True)
    with on("engine"):
        x = embed(table, none, none, torch.empty(0), torch.empty(0, 3))
        assert x.shape == (0, 3)
        (gradient,) = torch.autograd.grad(x.sum(), table)
        assert gradient.is_sparse and gradient.to_dense().tolist() == torch.zeros(4, 3).tolist()
        assert max_mean(torch.empty(0, 5), none).shape == (0, 10)


def pooled(x, rows):
    """A sequence at a time, and a feature's greatest value by its place: the first of equals."""
    parts = [x[rows == b] for b in range(int(rows.max()) + 1)]
    first = [torch.tensor([column.tolist().index(float(column.max())) for column in part.detach().T]) for part in parts]
    most = torch.stack([part[at, torch.arange(x.shape[1])] for part, at in zip(parts, first, strict=True)])
    return torch.cat((most, torch.stack([part.mean(0) for part in parts])), 1)


def check_pooling(lengths, width, seed, ties=False):
    random = torch.Generator().manual_seed(seed)
    sizes, rows = packing(lengths)
    x = torch.randn(len(rows), width, generator=random)
    x = (x.round() if ties else x).requires_grad_()
    cotangent = torch.randn(len(lengths), 2 * width, generator=random)
    got, wanted = max_mean(x, sizes), pooled(x, rows)
    close(got, wanted)
    close(*(torch.autograd.grad(y, x, cotangent)[0] for y in (got, wanted)))


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40)
@given(lengths=lengths_of, width=st.integers(1, 70), seed=st.integers(0, 2**20))
def test_pooling_and_its_gradient_equal_a_sequence_at_a_time(path, lengths, width, seed):
    with on(path):
        check_pooling(lengths, width, seed)


@settings(max_examples=40)
@given(lengths=lengths_of, width=st.integers(1, 70), seed=st.integers(0, 2**20))
def test_of_equal_values_the_first_gets_the_gradient(lengths, width, seed):
    with on("engine"):
        check_pooling(lengths, width, seed, ties=True)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_pooling_on_threads(path, threads):
    with on(path, threads):
        check_pooling(LONG, 37, 5, ties=path == "engine")


@pytest.mark.parametrize("path", PATHS)
def test_infinities_are_values(path):
    x = torch.tensor([[-math.inf, 2.0], [1.0, math.inf], [-math.inf, 3.0]])
    with on(path):
        assert max_mean(x, torch.tensor([2, 1])).tolist() == [[-math.inf, 3.0, -math.inf, 2.5], [1.0, math.inf, 1.0, math.inf]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("step", [0, 1, 2])
def test_not_a_number_is_the_greatest_wherever_it_stands(path, step):
    x = torch.tensor([[1.0, 5.0], [2.0, 4.0], [3.0, 6.0]])
    x[step, 0] = math.nan
    with on(path):
        got = max_mean(x, torch.tensor([1, 1, 1]))[0]
    assert got[[0, 2]].isnan().all() and got[[1, 3]].tolist() == [6.0, 5.0]


def test_no_tokens_without_the_engine():
    none = torch.empty(0, dtype=torch.int64)
    with on("torch"):
        assert embed(torch.randn(4, 3), none, none, None, torch.empty(0, 3)).shape == (0, 3)
        assert max_mean(torch.empty(0, 5), none).shape == (0, 10)


def test_whole_numbers_are_not_read_as_floats():
    scale, mask = torch.tensor([2, 3, 4]), torch.tensor([[1, 2, 3], [4, 5, 6]])
    for some in ((scale, None), (None, mask)):
        with on("torch"):
            wanted = embed(TABLE, IDS, SIZES, *some)
        with on("engine"):
            torch.testing.assert_close(embed(TABLE, IDS, SIZES, *some), wanted)


@pytest.mark.parametrize("sizes", [[1, 2], [3, 0], [4, -1]])
def test_batch_sizes_that_are_none_are_refused(sizes):
    mask = torch.ones(4, 3)[: sizes[0]]  # what is read past its end is still its memory
    with on("engine"):
        with pytest.raises(TenorError):
            embed(TABLE, IDS, torch.tensor(sizes), None, mask)
        with pytest.raises(TenorError):
            max_mean(torch.randn(3, 2), torch.tensor(sizes))


@pytest.mark.parametrize("arguments", [(TABLE, IDS, SIZES.int()), (TABLE, IDS.float(), SIZES), (TABLE, IDS[None], torch.tensor([1]))])
def test_numbers_of_another_type_or_shape_are_refused(arguments):
    with on("engine"), pytest.raises(TenorError):
        embed(*arguments)


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_no_pass_is_differentiated_twice():
    table, sizes = torch.randn(5, 3, requires_grad=True), torch.tensor([2, 1])
    for out in (embed(table, torch.tensor([1, 2, 3]), sizes), max_mean(table[:3], sizes)):
        with pytest.raises(TenorError, match="create_graph=True"):
            torch.autograd.grad(out.sum(), table, create_graph=True)


def test_a_forced_kernel_holds_for_the_passes_too(monkeypatch):
    table, ids, sizes = torch.randn(5, 3, requires_grad=True), torch.tensor([1, 2, 3]), torch.tensor([2, 1])
    for name in ("torch", "reference"):
        monkeypatch.setenv("TENOR_KERNEL", name)
        (gradient,) = torch.autograd.grad(max_mean(table[:3] ** 2, sizes).sum(), table, create_graph=True)
        assert gradient.requires_grad
        assert not type(embed(table, ids, sizes).grad_fn).__name__.startswith("_Embed")
    monkeypatch.setenv("TENOR_KERNEL", "native")
    with pytest.raises(TenorError, match="TENOR_KERNEL=native cannot embed or pool this"):
        max_mean(torch.randn(3, 2, dtype=torch.float64), sizes)
    monkeypatch.setenv("TENOR_KERNEL", "foo")
    with pytest.raises(TenorError, match="TENOR_KERNEL must be one of"):
        max_mean(table[:3], sizes)
