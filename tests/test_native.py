"""The engine: every instruction set of this CPU against the specification; activations; threads, forks and what it refuses."""

import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from recurrent import ISAS, TIGHT
from tenor.cells import native, reference
from tenor.errors import TenorError

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())
CELLS = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("TENOR_ISA", request.param)
    return request.param


class Case:
    """Random arguments of the contract, a leaf each, and random cotangents."""

    def __init__(self, cell, lengths, size, hidden, directions, bias=True, masked=False, dtype=torch.float32, seed=0):
        random = torch.Generator().manual_seed(seed)
        lengths = sorted(lengths, reverse=True)
        self.cell, self.compute = cell, dtype
        wide = torch.float64 if dtype == torch.float64 else torch.float32

        def draw(*shape, scale=1.0):
            return (torch.randn(*shape, generator=random, dtype=torch.float64) * scale).to(wide)

        self.sizes = torch.tensor([sum(n > t for n in lengths) for t in range(lengths[0])], dtype=torch.int64)
        states, rows = (directions, len(lengths), hidden), sum(lengths)
        shapes = [(GATES[cell] * hidden, size), (GATES[cell] * hidden, hidden), *[(GATES[cell] * hidden,)] * 2]
        self.x, self.h0 = draw(rows, size), draw(*states)
        self.c0 = draw(*states) if cell == "lstm" else None
        self.weights = [[draw(*s, scale=1 / math.sqrt(hidden)) if bias or len(s) == 2 else None for s in shapes] for _ in range(directions)]
        self.mask = (torch.rand(*states, generator=random) < 0.7).to(wide) / 0.7 if masked else None
        self.cotangents = [draw(rows, directions * hidden), draw(*states), draw(*states)]
        self.leaves = [t for t in (self.x, self.h0, self.c0, *(w for d in self.weights for w in d)) if t is not None]
        for leaf in self.leaves:
            leaf.requires_grad_()

    def outputs(self, run=native.run):
        found = run(self.cell, self.x, self.sizes, self.h0, self.c0, [tuple(w) for w in self.weights], self.compute, self.mask)
        return [t for t in found if t is not None]

    def results(self, run=native.run):
        outputs = self.outputs(run)
        loss = sum((a * b).sum() for a, b in zip(outputs, self.cotangents, strict=False))
        return [t.detach() for t in (*outputs, *torch.autograd.grad(loss, self.leaves))]


def cases(cell, dtype):
    lengths = st.lists(st.integers(0, 7), min_size=1, max_size=20).filter(any)  # up to 20 rows: more than any tile has
    sizes = {"size": st.integers(1, 70), "hidden": st.integers(1, 70), "directions": st.integers(1, 2), "seed": st.integers(0, 2**20)}
    return st.builds(Case, st.just(cell), lengths, bias=st.booleans(), masked=st.booleans(), dtype=st.just(dtype), **sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=12)
@given(data=st.data())
def test_every_instruction_set_equals_the_specification(cell, dtype, data):
    case = data.draw(cases(cell, dtype))
    wanted = case.results(reference.run)
    for name in ISAS:
        os.environ["TENOR_ISA"] = name
        try:
            for i, (a, b) in enumerate(zip(case.results(), wanted, strict=True)):
                torch.testing.assert_close(a, b, **TIGHT[dtype], msg=lambda m, name=name, i=i: f"{name}, result {i}: {m}")
        finally:
            del os.environ["TENOR_ISA"]


# relu's gradient has a step at 0, which sums rounded otherwise pass: its gradients are compared in float32 alone.
@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=12)
@given(data=st.data())
def test_bfloat16_rounds_as_the_specification_does(cell, data):
    case = data.draw(cases(cell, torch.bfloat16))
    wanted = case.results(reference.run)
    compared = 2 if cell == "rnn_relu" else len(wanted)
    for name in ISAS:
        os.environ["TENOR_ISA"] = name
        try:
            for i, (a, b) in enumerate(zip(case.results()[:compared], wanted[:compared], strict=True)):
                # One more rounding to 8 bits than the specification's: of the gates kept, and of their gradients. Of 1,000 random
                # problems a cell the farthest was 0.034 apart, a sum of few numbers that cancel.
                assert float((a - b).norm()) < 0.06 * (float(b.norm()) + 0.1 * b.numel() ** 0.5), f"{name}, result {i}"
        finally:
            del os.environ["TENOR_ISA"]


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.usefixtures("isa")
def test_bfloat16_over_more_rows_than_are_multiplied_together(cell, count):
    """Weight gradients take 512 rows at a time, steps of 16 sequences and more both products at once, others those of several steps."""
    case = Case(cell, [60] * 17 + [33] * 20 + [3] * 9, 70, 50, 2, dtype=torch.bfloat16, seed=5)
    with threads(count):
        found = case.results()
    for i, (a, b) in enumerate(zip(found, case.results(reference.run), strict=True)):
        far, size = (t.flatten(0, -2).norm(dim=-1) if t.dim() > 1 else t.abs() for t in (a - b, b))
        assert float(far.max()) < 0.02 * float(size.max()), f"result {i}"  # of 30 random problems the farthest row was 0.005 apart


@pytest.mark.parametrize("hidden", [15, 17, 48, 64])
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 31, 33, 49, 511, 513])
@pytest.mark.usefixtures("isa")
def test_bfloat16_is_exact_where_no_sum_is_rounded(rows, hidden):
    """Whole numbers of 8 bits at most, one step of relu: every product and its gradients must equal float32's to the bit."""
    case = Case("rnn_relu", [1] * rows, 79 - hidden, hidden, 1, dtype=torch.bfloat16)
    random = torch.Generator().manual_seed(rows * hidden)
    with torch.no_grad():
        for t in (*case.leaves, *case.cotangents):
            t.copy_(torch.randint(-3, 4, t.shape, generator=random))
    case.cotangents[1].zero_()  # of h_n, the same numbers as the output here
    with threads(1):
        found = case.results()
    case.compute = torch.float32
    for i, (a, b) in enumerate(zip(found, case.results(reference.run), strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=lambda m, i=i: f"result {i}: {m}")


def test_outputs_and_gradients_outlive_the_passes_that_made_them():
    """Their memory is the engine's, which must not use it again."""
    case = Case("lstm", [40] * 12, 30, 33, 2)
    kept = case.results()
    copies = [t.clone() for t in kept]
    for seed in range(8):
        Case("gru", [40] * 12, 30, 33, 2, seed=seed).results()
    for a, b in zip(kept, copies, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_equal_finite_differences(cell, isa):
    case = Case(cell, [3, 2, 1, 0], 2, 5, 2, masked=True, dtype=torch.float64, seed=4)
    assert torch.autograd.gradcheck(lambda *_: tuple(case.outputs()), case.leaves), isa


def test_activations_keep_their_bounds(isa):
    """All magnitudes of float32, both signs; the bounds stand in csrc/activations.h."""
    x = torch.cat([torch.linspace(-12, 12, 200_001), torch.logspace(-38, 38, 50_001), -torch.logspace(-38, 38, 50_001), torch.tensor([0.0, math.inf, -math.inf])])
    for name, function in (("tanh", torch.tanh), ("sigmoid", torch.sigmoid)):
        y = torch.empty_like(x)
        native._engine.activation(isa, name, x.data_ptr(), y.data_ptr(), len(x))
        exact = function(x.double())
        error = (y.double() - exact).abs()
        if name == "tanh":
            assert float((error / exact.abs().clamp(min=1e-45)).max()) < 4e-7
            assert float(y.abs().max()) <= 1
        else:
            assert float(error.max()) < 2e-7
            assert float(y.min()) >= 0 and float(y.max()) <= 1
    nan = torch.full((5,), math.nan)
    for name in ("tanh", "sigmoid"):
        y = torch.zeros(5)
        native._engine.activation(isa, name, nan.data_ptr(), y.data_ptr(), 5)
        assert bool(y.isnan().all())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("isa")
def test_a_row_has_the_same_bits_alone_and_in_any_batch_and_on_any_threads(cell, dtype):
    case = Case(cell, [9] * 17 + [8, 8, 7, 5, 5, 5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 0], 13, 37, 2, masked=True, dtype=dtype)
    alike = []
    for count in (1, 2, 3, 7):
        with threads(count):
            big = Case(cell, [60] * 40, 40, 37, 2, dtype=dtype)  # enough work that the threads are used
            alike.append([t.detach() for t in (*case.outputs(), *big.outputs())])
    for other in alike[1:]:
        for a, b in zip(other, alike[0], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    starts = torch.cumsum(case.sizes, 0) - case.sizes
    for row in (0, 16, 22, 32, 33):
        at = starts[: int((case.sizes > row).sum())] + row
        c0 = None if case.c0 is None else case.c0[:, row : row + 1]
        out, h, _ = native.run(cell, case.x[at], torch.ones(len(at), dtype=torch.int64), case.h0[:, row : row + 1], c0, [tuple(w) for w in case.weights], dtype, case.mask[:, row : row + 1])
        torch.testing.assert_close(out, alike[0][0][at], rtol=0, atol=0)
        torch.testing.assert_close(h[:, 0], alike[0][1][:, row], rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_do_not_depend_on_threads_beyond_rounding(cell):
    case = Case(cell, [60] * 40 + [3], 40, 37, 1)
    found = []
    for count in (1, 4):
        with threads(count):
            found.append(case.results())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_that_are_not_wanted_change_nothing(cell):
    case = Case(cell, [5, 3, 1], 6, 9, 2)
    wanted = case.results()[: len(case.outputs()) + 1]
    for leaf in case.leaves[1:]:
        leaf.requires_grad_(False)
    case.leaves = case.leaves[:1]
    for a, b in zip(case.results(), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    case.x.requires_grad_(False)
    case.leaves = [case.weights[1][1].requires_grad_()]
    assert bool(case.results()[-1].abs().sum() > 0)


def test_the_graph_can_be_used_twice_and_not_differentiated_twice():
    case = Case("lstm", [4, 2], 3, 5, 1)
    out = case.outputs()[0].sum()
    once = torch.autograd.grad(out, case.leaves, retain_graph=True)
    for a, b in zip(torch.autograd.grad(out, case.leaves), once, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    scale = torch.ones((), requires_grad=True)
    for outputs in (case.outputs()[0].sum() * scale, case.outputs()[0].sum()):  # the incoming gradient needs one; needs none
        with pytest.raises(TenorError, match=r"no derivative, which create_graph=True asks for\. Set TENOR_KERNEL=torch"):
            torch.autograd.grad(outputs, case.x, create_graph=True)


def test_weights_changed_before_the_backward_pass_are_noticed():
    case = Case("gru", [4, 2], 3, 5, 1)
    out = case.outputs()[0].sum()
    with torch.no_grad():
        case.weights[0][0].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_not_a_number_stays_one_and_in_its_row():
    case = Case("lstm", [3, 3, 2], 4, 20, 1)
    with torch.no_grad():
        case.x[1] = math.nan  # row 1, step 0
    out = case.outputs()[0].detach()
    assert out[[1, 4, 7]].isnan().all() and not out[[0, 2, 3, 5, 6]].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_threads_at_once_give_what_they_give_alone(dtype):
    case = [Case(cell, [40] * 20 + [7], 30, 33, 2, dtype=dtype, seed=i) for i, cell in enumerate(CELLS * 2)]
    alone = [c.results() for c in case]
    together = [None] * len(case)

    def work(i):
        for _ in range(5):
            together[i] = case[i].results()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(case))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(together, alone, strict=True):
        for got, wanted in zip(a, b, strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_other_threads_run_meanwhile():
    """The GIL is released: while the kernel works, another thread of Python gets on."""
    case = Case("lstm", [600] * 8, 128, 256, 1)
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    with torch.no_grad():
        case.outputs()
    ended = time.perf_counter()
    done.set()
    thread.join()
    inside = [t for t in ticks if began < t < ended]
    assert len(inside) > 0.1 * (ended - began) / 0.001


class Computed(Dataset):
    """Rows that a layer computes in the worker process."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __len__(self):
        return 8

    def __getitem__(self, i):
        with torch.no_grad():
            return Case("gru", [30] * 20, 16, 24, 2, dtype=self.dtype, seed=i).outputs()[0].sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_forked_workers_of_a_dataloader(dtype):
    alone = [Computed(dtype)[i] for i in range(8)]  # the parent used the engine before the fork
    context = multiprocessing.get_context("fork")
    together = list(DataLoader(Computed(dtype), batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60))
    torch.testing.assert_close(torch.stack(together), torch.stack(alone), rtol=0, atol=0)


def values_and_gradients(case):
    """All by the engine: torch's own threads do not survive a fork."""
    outputs = case.outputs()
    gradients = torch.autograd.grad(outputs, case.leaves, case.cotangents[: len(outputs)])
    return [t.detach().numpy().tobytes() for t in (*outputs, *gradients)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12's: it is what is tested
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_forked_child_on_two_threads(dtype):
    """A DataLoader's workers have one thread each; this child starts a second, after the parent's have been at work."""
    case = Case("lstm", [60] * 40, 40, 37, 2, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = values_and_gradients(case)
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=lambda: there.send(values_and_gradients(case)), daemon=True)
        child.start()
        there.close()
        answered = here.poll(20)
        together = here.recv() if answered else None
        child.kill()
        child.join()
    finally:
        torch.set_num_threads(before)
    assert answered, "the child hangs"
    assert together == alone


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory in use is read from /proc")
def test_memory_does_not_creep():
    """The memory in use, in a process of its own: what other tests had would hide it."""
    program = (
        "import gc, os, sys; sys.path.insert(0, os.path.dirname(sys.argv[1]))\n"
        "from test_native import Case\n"
        "case = Case('lstm', [200] * 16, 32, 32, 2)\n"
        "def used(): return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6\n"
        "def after(calls):\n for _ in range(calls): case.results()\n gc.collect()\n return used()\n"
        "before = after(10); print(after(60) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, __file__], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30  # a call keeps 9 MB


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory in use is read from /proc")
@pytest.mark.skipif("TENOR_TEST_ENGINE" in os.environ, reason="a sanitizer has memory of its own")
def test_a_call_that_finds_no_memory_keeps_none():
    """In a process that may have 330 MB more: reading 200,000 rows takes 370 MB and fails; then the half finds its 190."""
    program = (
        "import os, resource, torch\n"
        "from tenor.cells.reader import Reader\n"
        "torch.set_num_threads(1)\n"
        "reader = Reader('rnn_tanh', torch.zeros(1, 1), [(torch.zeros(64, 1), torch.zeros(64, 64), None, None)], torch.float32)\n"
        "def read(rows): return len(reader.last(torch.zeros(rows, dtype=torch.int64), torch.tensor([rows]))[0])\n"
        "read(1)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 330_000_000,) * 2)\n"
        "try:\n read(200_000)\n failed = False\n"
        "except MemoryError:\n failed = True\n"  # what the failed call had is the traceback's until here
        "print(failed, read(100_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.stdout == "True 100000\n", done.stderr


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"sizes": torch.tensor([2, 3, 1])}, "batch_sizes must descend from at most 3"),
        ({"sizes": torch.tensor([4, 1, 1])}, "batch_sizes must descend from at most 3"),
        ({"sizes": torch.tensor([3, 2, 2])}, "must add up to the 6 packed rows; got 7"),
        ({"sizes": torch.tensor([3, 2, 1], dtype=torch.int32)}, "batch_sizes is [T] int64"),
        ({"h0": torch.zeros(1, 3, 6)}, "need c0 as"),
        ({"c0": None}, "c0 for lstm alone"),
        ({"mask": torch.zeros(1, 2, 5)}, "need mask as [1, 3, 5]"),
        ({"x": torch.zeros(6, 5)}, "need weight 0 as [20, 5]"),
    ],
)
def test_what_does_not_fit_never_reaches_the_engine(change, wanted):
    case = Case("lstm", [3, 2, 1], 4, 5, 1)
    for name, value in change.items():
        setattr(case, name, value)
    with pytest.raises(TenorError) as error:
        case.outputs()
    assert wanted in str(error.value)


def test_an_unknown_instruction_set_is_refused(monkeypatch):
    monkeypatch.setenv("TENOR_ISA", "avx1024")
    with pytest.raises(TenorError, match=r"names an instruction set of this CPU: .*portable; got 'avx1024'"):
        Case("lstm", [1], 1, 1, 1).outputs()
