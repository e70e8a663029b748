"""What the tests of the recurrent layers share: random problems, and everything that a run gives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tenor.cells import GRU, LSTM, RNN, native

OURS = {"lstm": LSTM, "gru": GRU, "rnn_tanh": RNN, "rnn_relu": RNN}
TORCHS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN, "rnn_relu": nn.RNN}
# Sums in another order: a few units in the last place of values around 1, grown over the steps.
TIGHT = {torch.float32: {"rtol": 1e-4, "atol": 3e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-10}}
# Those of this CPU that the system lets this process use.
ISAS = [name for name in native.isas() if not native.engine().refusal(name)]
PATHS = ["reference", "torch", "native"]


@contextmanager
def forced(path: str) -> Iterator[None]:
    """TENOR_KERNEL=path; a test of the native path is skipped where the engine is not built."""
    if path == "native" and not native.available():
        pytest.skip(native.why_not())
    before = os.environ.get("TENOR_KERNEL")
    os.environ["TENOR_KERNEL"] = path
    try:
        yield
    finally:
        if before is None:
            del os.environ["TENOR_KERNEL"]
        else:
            os.environ["TENOR_KERNEL"] = before


@dataclass(frozen=True)
class Problem:
    """A layer's sizes and a batch."""

    lengths: tuple[int, ...]
    size: int
    hidden: int
    layers: int = 1
    two: bool = True
    bias: bool = True
    states: bool = True
    seed: int = 0

    def layer(self, cell: str, dtype: torch.dtype = torch.float32, torchs: bool = False, **more: object) -> nn.Module:
        torch.manual_seed(self.seed)
        kind = {"nonlinearity": cell.removeprefix("rnn_")} if cell.startswith("rnn") else {}
        return (TORCHS if torchs else OURS)[cell](self.size, self.hidden, self.layers, bias=self.bias, bidirectional=self.two, dtype=dtype, **kind, **more)

    def results(self, layer: nn.Module, weights: bool = True) -> dict[str, Tensor]:
        """Outputs, final states, and the gradient of every input, weight, bias and first state, for random cotangents.

        torch.nn gets the rows that have a token, packed; a row of length 0 has no outputs, and its states are the first ones.
        """
        torch.manual_seed(self.seed + 1)
        own = next(layer.parameters()).dtype
        steps, rows, blocks = max(self.lengths), len(self.lengths), self.layers * (1 + self.two)
        width = getattr(layer, "proj_size", 0) or self.hidden

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64).to(own)  # the same numbers in every dtype

        x = random(steps, rows, self.size).requires_grad_()
        widths = [width, self.hidden] if isinstance(layer, LSTM | nn.LSTM) else [width]
        states = [random(blocks, rows, w).requires_grad_() for w in widths] if self.states else []
        cotangents = [random(steps, rows, width * (1 + self.two)), *(random(blocks, rows, w) for w in widths)]
        if isinstance(layer, nn.RNNBase):
            out, last = self._by_torch(layer, x, states)
        else:
            hx = None if not states else tuple(states) if len(states) > 1 else states[0]
            out, last = layer(x, hx, lengths=self.lengths)
        got = dict(zip(["out", "h_n", "c_n"], [out, *(last if isinstance(last, tuple) else (last,))], strict=False))
        wanted = {"x": x} | {f"first{i}": s for i, s in enumerate(states)} | (dict(layer.named_parameters()) if weights else {})
        loss = sum((a * b).sum() for a, b in zip(got.values(), cotangents, strict=True))
        grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=max(self.lengths) == 0)
        named = {f"gradient of {k}": v for k, v in zip(wanted, grads, strict=True) if v is not None}
        return {k: v.detach() for k, v in (got | named).items()}

    def _by_torch(self, layer: nn.RNNBase, x: Tensor, states: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        lengths = torch.tensor(self.lengths)
        rows = lengths.nonzero().flatten()
        batch = pack_padded_sequence(x[:, rows], lengths[rows], enforce_sorted=False)
        hx = [s[:, rows] for s in states]
        out, last = layer(batch, None if not hx else tuple(hx) if len(hx) > 1 else hx[0])
        last = last if isinstance(last, tuple) else (last,)
        whole = torch.zeros(len(x), len(lengths), out.data.shape[1], dtype=x.dtype)
        firsts = states or [torch.zeros(s.shape[0], len(lengths), s.shape[2], dtype=x.dtype) for s in last]
        return whole.index_copy(1, rows, pad_packed_sequence(out, total_length=len(x))[0]), tuple(f.index_copy(1, rows, s) for f, s in zip(firsts, last, strict=True))


def problems(least: int = 0) -> st.SearchStrategy[Problem]:
    """At least one row has a token."""
    lengths = st.lists(st.integers(least, 9), min_size=1, max_size=6).filter(any).map(tuple)
    sizes = {"size": st.integers(1, 20), "hidden": st.integers(1, 37), "layers": st.integers(1, 2), "seed": st.integers(0, 2**20)}
    return st.builds(Problem, lengths=lengths, two=st.booleans(), bias=st.booleans(), states=st.booleans(), **sizes)


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert got.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], **TIGHT[dtype], msg=lambda m, name=name: f"{name}: {m}")


# Of 3,000 random problems a cell the farthest were 0.008, 0.023, 0.064 and, against kernels that keep the states in float32, 0.016 apart.
FAR = {"lstm": 0.04, "gru": 0.06, "rnn_tanh": 0.15, "rnn_relu": 0.1}


def assert_near(got: dict[str, Tensor], wanted: dict[str, Tensor], cell: str) -> None:
    """As far apart as bfloat16 may be: it keeps 8 bits, so 2**-8 a product, more over the steps. A wrong gate or direction is off by far more."""
    assert got.keys() == wanted.keys()
    for name, b in wanted.items():
        error, scale = float((got[name] - b).norm()), float(b.norm()) + 0.1 * b.numel() ** 0.5
        assert error < FAR[cell] * scale, f"{name}: error {error:.3g} at a scale of {scale:.3g}"


def values(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the gradients: relu's have a step where a sum is near 0, so states that are rounded otherwise give others."""
    return {k: v for k, v in found.items() if not k.startswith("gradient")}
