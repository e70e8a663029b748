"""The choice of the kernel, and that nothing falls back in silence."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from tenor.cells import GRU, LSTM, kernels, reference, via_torch
from tenor.errors import TenorError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def built(monkeypatch):
    """A stand-in for the engine."""
    engine = SimpleNamespace(available=lambda: True, why_not=lambda: "", isa=lambda: "avx512_bf16", passed_over=lambda: "", run=lambda *_: "native ran")
    monkeypatch.setattr(kernels, "native", engine)
    return engine


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr(kernels, "native", SimpleNamespace(available=lambda: False, why_not=lambda: "no compiler was found"))


@pytest.fixture(autouse=True)
def automatic(monkeypatch):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)


def choose(**changes):
    return kernels.choose(**({"cell": "lstm", "hidden": 64, "batch": 32, "compute": torch.bfloat16, "device": CPU} | changes))


def test_auto_takes_native_where_it_can_and_is_not_slower(built, monkeypatch):
    assert choose().run is built.run and choose().why == "native LSTM, avx512_bf16, bfloat16: the engine is built, and torch's was not measured clearly faster here"
    assert choose(masked=True).name == "native"
    assert choose(projected=True).run is via_torch.run and "no proj_size" in choose(projected=True).why
    assert choose(device=GPU).why.startswith("torch LSTM, cuDNN on packed rows, bfloat16: the device is a GPU")
    table = {("lstm", torch.bfloat16, "avx512_bf16", "reading"): (kernels.Shapes(range(60, 70), range(1, 33)),)}
    monkeypatch.setattr(kernels, "SLOWER", table)
    assert choose(kind="reading").name == "torch" and "measured faster" in choose(kind="reading").why
    for change in ({"masked": True}, {"batch": 33}, {"hidden": 70}, {"cell": "gru"}, {"compute": torch.float32}, {"kind": "training"}, {"kind": "stepping"}):
        assert choose(**{"kind": "reading"} | change).name == "native", change


@pytest.mark.usefixtures("built")
def test_what_was_measured_slower_runs_on_torch(monkeypatch):
    long = {"hidden": 1024, "batch": 1, "compute": torch.float32}
    assert choose(**long, kind="reading").run is choose(**long, kind="training").run is via_torch.run
    assert choose(**long | {"batch": 64}, kind="reading").name == choose(**long, kind="stepping").name == "native"
    assert "1,024 units and 1 row, reading" in choose(**long, kind="reading").why
    monkeypatch.setenv("TENOR_KERNEL", "native")
    assert choose(**long, kind="reading").name == "native"


def test_a_set_of_instructions_without_a_measurement_says_so(built, monkeypatch):
    monkeypatch.setattr(built, "isa", lambda: "avx512")
    assert choose().why.endswith("the engine is built, and the two were not measured on this instruction set")


@pytest.mark.usefixtures("absent")
def test_auto_without_the_engine_says_so():
    assert choose().run is via_torch.run and "the native kernel is not there (no compiler was found)" in choose().why
    assert choose(masked=True).run is reference.run
    assert "no recurrent dropout, and the native kernel is not there" in choose(masked=True).why


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("wish", "changes", "wanted"),
    [
        ("nativ", {}, "TENOR_KERNEL must be one of auto, torch, native, reference, not 'nativ'; did you mean 'native'?"),
        ("native", {"device": GPU}, "TENOR_KERNEL=native cannot run this LSTM: the device is a GPU, and the native kernel is for CPUs. Unset TENOR_KERNEL, or set it to auto."),
        ("native", {"projected": True}, "the native kernel has no proj_size"),
        ("torch", {"masked": True}, "TENOR_KERNEL=torch cannot run this LSTM: torch's kernels have no recurrent dropout"),
        ("auto", {"compute": torch.float16}, "On a CPU the products can be float32, bfloat16 or float64, not float16"),
    ],
)
def test_what_cannot_be_had_is_an_error(wish, changes, wanted, monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", wish)
    with pytest.raises(TenorError) as error:
        choose(**changes)
    assert wanted in str(error.value)


@pytest.mark.usefixtures("absent")
def test_the_absent_engine_cannot_be_forced(monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", "native")
    with pytest.raises(TenorError, match=r"not there \(no compiler was found\)"):
        GRU(3, 4)(torch.randn(2, 1, 3))


@pytest.mark.parametrize("wish", ["torch", "reference"])
def test_the_forced_kernel_runs(wish, built, monkeypatch):
    monkeypatch.setenv("TENOR_KERNEL", wish)
    module = {"torch": via_torch, "reference": reference}[wish]
    calls = []
    real = module.run
    monkeypatch.setattr(module, "run", lambda *a, **k: calls.append(a[0]) or real(*a, **k))
    LSTM(3, 4, num_layers=2)(torch.randn(2, 1, 3))
    assert calls == ["lstm", "lstm"]
    assert choose().why.endswith(f"TENOR_KERNEL={wish} asks for it")
    assert built.available()


def test_torch_refuses_a_mask():
    layer = LSTM(3, 4)
    h = torch.zeros(1, 1, 4)
    with pytest.raises(TenorError, match="take no mask"):
        via_torch.run("lstm", torch.randn(2, 3), torch.tensor([1, 1]), h, h, layer._weights(0)[0], torch.float32, h)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_of_either_kind_give_the_gradients(reentrant):
    layer, x = LSTM(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
    checkpoint(layer, x, use_reentrant=reentrant)[0].sum().backward()
    torch.testing.assert_close(x.grad, wanted, rtol=0, atol=0)
