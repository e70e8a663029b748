"""The C++ engine (csrc/) as a differentiable torch function on packed rows.

Everything that the engine is told by address is checked here: shape, type, device and layout.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tenor.errors import TenorError

try:
    from tenor.cells import _engine
except ImportError as error:  # installed without a compiler
    _engine = None  # type: ignore[assignment]
    _WHY_NOT = f"the C++ engine is not built ({error}); install a C++ compiler, and Tenor again"
else:
    _WHY_NOT = ""

Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
_ACCUMULATOR = {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float64: torch.float64}


def available() -> bool:
    return _engine is not None


def why_not() -> str:
    """Why the engine is absent; empty where it is there."""
    return _WHY_NOT


def engine() -> Any:
    """The extension; its functions take addresses and check nothing."""
    return _engine


def isas() -> list[str]:
    """The instruction sets that this CPU and this build have, best first."""
    return list(_engine.instruction_sets()) if available() else []


def wished_isa() -> str:
    """TENOR_ISA's value; empty where it names none. Nothing is asked of Linux. Raises TenorError: it names one that is not here."""
    wish = os.environ.get("TENOR_ISA", "")
    if wish and wish not in isas():
        raise TenorError(f"TENOR_ISA names an instruction set of this CPU: {', '.join(isas())}; got {wish!r}.")
    return wish


def isa() -> str:
    """The instruction set in use: TENOR_ISA's, or the best. Where that is AMX, Linux is asked for its registers, and only there.

    Raises:
        TenorError: TENOR_ISA names one that is not here, or that the system refuses this process.
    """
    wish = wished_isa()
    if wish and _engine.refusal(wish):
        raise TenorError(f"TENOR_ISA={wish} cannot be had: {_engine.refusal(wish)}. Unset TENOR_ISA.")
    return wish or next(name for name in isas() if not _engine.refusal(name))


def passed_over() -> str:
    """Which better instruction set of this CPU is not used, and why: "amx is not used: ...". Empty where there is none, or where TENOR_ISA has chosen."""
    best = isas()[0]
    return "" if wished_isa() or best == isa() else f"{best} is not used: {_engine.refusal(best)}"


def traits(name: str | None = None) -> _engine.Traits:
    """What an instruction set, that in use or another, multiplies: `.bfloat16` (else it is converted) and `.int8` (else there are no 8-bit products)."""
    return _engine.traits(name or isa())


class _Plan(NamedTuple):
    """What does not change between forward and backward, and is no tensor to differentiate."""

    cell: str
    batch_sizes: Tensor
    compute: torch.dtype
    directions: int
    keep: bool
    isa: str


def run(
    cell: str,
    x: Tensor,
    batch_sizes: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weights: Sequence[Weights],
    compute: torch.dtype,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One layer, all its directions, over packed rows.

    Args:
        cell: "lstm", "gru", "rnn_tanh" or "rnn_relu".
        x: [N, I] packed rows, time-major, lengths descending.
        batch_sizes: [T] int64 on the CPU, descending, none above B; rows beyond batch_sizes[0] have length 0.
        h0, c0: [D, B, H]; c0 for the LSTM only.
        weights: a direction each: w_ih [G*H, I], w_hh [G*H, H], b_ih and b_hh [G*H] or None; torch's gate order.
        compute: format of the matrix products; bfloat16 accumulates and keeps states in float32.
        mask: [D, B, H], what the recurrent product reads is h * mask.

    Returns:
        out [N, D*H] in x's format, h_n [D, B, H], c_n [D, B, H] or None.
    """
    accumulator = _ACCUMULATOR[compute]
    given = [x, h0, c0, mask, *(w for direction in weights for w in direction)]
    cast = [None if t is None else t.to(accumulator).contiguous() for t in given]
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    plan = _Plan(cell, batch_sizes.contiguous(), compute, len(weights), keep, isa())
    out, h_n, c_n = outside_compiler(_Native.apply)(plan, *cast)
    return out.to(x.dtype), h_n.to(h0.dtype), None if c0 is None else c_n.to(c0.dtype)


def outside_compiler(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as torch.compile must take it: whole, since it hands addresses to the engine."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled yet, and importing the compiler takes 1.2 s
        return function
    whole: Callable[..., Any] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return whole


def _check(plan: _Plan, x: Tensor, h0: Tensor, c0: Tensor | None, mask: Tensor | None, weights: Sequence[Tensor | None]) -> tuple[int, int]:
    """-> input and hidden size. An address of anything else than these shapes must never reach the engine."""
    (rows, size), (directions, batch, hidden) = x.shape, h0.shape
    sizes = plan.batch_sizes
    for name, state in (("h0", h0), ("c0", c0), ("mask", mask)):
        _check_tensor(name, state, (plan.directions, batch, hidden), x.dtype)
    check_weights(plan.cell, size, hidden, weights, x.dtype)
    if (c0 is None) == (plan.cell == "lstm") or directions not in (1, 2) or hidden < 1 or size < 1 or x.device.type != "cpu":
        raise TenorError(f"The native kernels run {plan.cell} on the CPU with 1 or 2 directions, sizes of at least 1, and c0 for lstm alone; got x {list(x.shape)}, h0 {list(h0.shape)}.")
    check_sizes(sizes, rows, batch)
    return size, hidden


def check_weights(cell: str, size: int, hidden: int, weights: Sequence[Tensor | None], dtype: torch.dtype) -> None:
    """Four a direction, as `run` takes them."""
    gates = {"lstm": 4, "gru": 3}.get(cell, 1)
    shapes: tuple[tuple[int, ...], ...] = ((gates * hidden, size), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    for i, weight in enumerate(weights):
        _check_tensor(f"weight {i}", weight, shapes[i % 4], dtype)


def _check_tensor(name: str, tensor: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous()):
        raise TenorError(f"The native kernels need {name} as {list(shape)} {dtype} on the CPU; got {list(tensor.shape)} {tensor.dtype} on {tensor.device}.")


def check_sizes(sizes: Tensor, rows: int, batch: int | None = None) -> int:
    """A PackedSequence's batch_sizes for so many rows in all, of at most `batch` sequences; -> the sequences that have a token."""
    if sizes.dtype != torch.int64 or sizes.dim() != 1 or sizes.device.type != "cpu":
        raise TenorError(f"batch_sizes is [T] int64 on the CPU; got {list(sizes.shape)} {sizes.dtype} on {sizes.device}.")
    first = int(sizes[0]) if len(sizes) else 0
    most = first if batch is None else batch
    if len(sizes) and (first > most or int(sizes[-1]) < 1 or bool((sizes[1:] > sizes[:-1]).any())):
        raise TenorError(f"batch_sizes must descend from at most {most} (the rows of a batch) to at least 1; got {sizes.tolist()}.")
    if int(sizes.sum()) != rows:
        raise TenorError(f"batch_sizes must add up to the {rows} packed rows; got {int(sizes.sum())}.")
    return first


def pack(cell: str, compute: torch.dtype, size: int, hidden: int, weights: Sequence[Tensor | None], isa_name: str | None = None, directions: int | None = None) -> Any:
    """The engine's layer. `weights`: checked, four a direction; none, for a layer that only differentiates."""
    kind, form = getattr(_engine.Cell, cell), getattr(_engine.Type, str(compute).removeprefix("torch."))
    return _engine.Layer(isa_name or isa(), kind, form, size, hidden, directions or len(weights) // 4, _fours(weights))


def packed_at(batch_sizes: Tensor, rows: int, batch: int | None = None) -> tuple[int, int, int, int]:
    """batch_sizes, contiguous, as the engine's functions over packed rows take them; `batch` counts sequences without a token too."""
    first = int(batch_sizes[0]) if len(batch_sizes) else 0
    return batch_sizes.data_ptr(), len(batch_sizes), first if batch is None else batch, rows


class Frozen:
    """One direction of a layer, its weights brought into the engine's order once; it keeps nothing of the caller's.

    Args:
        cell, compute: as `run`.
        weights: w_ih, w_hh and, with biases, b_ih and b_hh.
    """

    def __init__(self, cell: str, weights: Sequence[Tensor], compute: torch.dtype) -> None:
        self._format = _ACCUMULATOR[compute]
        cast = [w.detach().to(self._format).contiguous() for w in weights]
        flat = [*cast, *[None] * (4 - len(cast))]
        self._size, self._hidden = weights[0].shape[1], weights[1].shape[1]
        check_weights(cell, self._size, self._hidden, flat, self._format)
        self._layer = pack(cell, compute, self._size, self._hidden, flat)

    def step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """x [B, I], h (and c) [B, H] on the CPU -> h, which is the output too, (and c) after the step, in x's format."""
        read = [t.to(self._format).contiguous() for t in (x, *states)]
        rows = len(x)
        if any(t.shape != (rows, size) or t.device.type != "cpu" for t, size in zip(read, (self._size, self._hidden, self._hidden), strict=False)):
            raise TenorError(f"The native kernels step x [B, {self._size}] and states [B, {self._hidden}] on the CPU; got {[list(t.shape) for t in read]}.")
        after = [torch.empty_like(t) for t in read[1:]]
        all_live = torch.full((min(1, rows),), rows)  # a single step; of no rows, none
        x_at, *before = map(address, read)
        h, *c = map(address, after)
        self._layer.forward(packed_at(all_live, rows), (x_at, before[0], *(before[1:] or [0]), 0, h, h, *(c or [0])), 0, torch.get_num_threads())
        return tuple(t.to(x.dtype) for t in after)


def first_derivative(instead: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a backward that cannot be differentiated: where its own derivative is asked for, an error that ends in what to do instead.

    A backward runs with gradients on under create_graph=True alone. torch's once_differentiable sees only the cases in which the
    incoming gradient needs one; in the others the second derivative would lack a part, without a word.
    """

    def guard(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def guarded(ctx: Any, *gradients: Tensor | None) -> Any:
            if torch.is_grad_enabled():
                raise TenorError(f"Tenor's own backward passes have no derivative, which create_graph=True asks for. {instead}, or leave create_graph out.")
            return backward(ctx, *gradients)

        return guarded

    return guard


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def room(like: Tensor, *shape: int) -> Tensor:
    """like.new_empty, its memory from the engine's pool: torch gives large blocks back to the system, and each new page of one costs a fault."""
    of_type = {torch.float32: _engine.floats, torch.float64: _engine.doubles}[like.dtype]
    found: Tensor = of_type(shape)
    return found


def save(ctx: Any, *tensors: Tensor | None) -> None:
    """For the backward pass; `saved` gives them back."""
    ctx.save_for_backward(*tensors)
    ctx.forms = [_form(t) for t in tensors]


def saved(ctx: Any) -> list[Any]:
    """What `save` took, contiguous. Raises TenorError if hooks on saved tensors made something else of it."""
    found = [None if t is None else t.contiguous() for t in ctx.saved_tensors]
    for tensor, form in zip(found, ctx.forms, strict=True):
        if _form(tensor) != form:
            raise TenorError(f"Hooks on saved tensors must give back what they were given, {form}; got {_form(tensor)}.")
    return found


def _form(tensor: Tensor | None) -> object:
    return None if tensor is None else (list(tensor.shape), tensor.dtype, tensor.device)


def _fours(tensors: Sequence[Tensor | None]) -> list[tuple[int, ...]]:
    return [tuple(map(address, tensors[i : i + 4])) for i in range(0, len(tensors), 4)]


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, x: Tensor, h0: Tensor, c0: Tensor | None, mask: Tensor | None, *weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        size, hidden = _check(plan, x, h0, c0, mask, weights)
        layer = pack(plan.cell, plan.compute, size, hidden, weights, plan.isa)
        out = room(x, len(x), plan.directions * hidden)
        h_n, c_n = torch.empty_like(h0), torch.empty_like(h0) if c0 is not None else x.new_empty(0)
        kept = _engine.block(layer.kept_bytes(len(x), mask is not None)) if plan.keep else None
        at = tuple(map(address, (x, h0, c0, mask, out, h_n, c_n)))
        layer.forward(packed_at(plan.batch_sizes, len(x), h0.shape[1]), at, address(kept), torch.get_num_threads())
        # The RNN's derivative is one of its output: a copy, since the caller may write on the output.
        save(ctx, x, h0, c0, mask, out.clone() if plan.keep and plan.cell.startswith("rnn") else None, kept, *weights)
        ctx.plan = plan
        if c0 is None:
            ctx.mark_non_differentiable(c_n)
        ctx.set_materialize_grads(False)
        return out, h_n, c_n

    @staticmethod
    @first_derivative("Set TENOR_KERNEL=torch")
    def backward(ctx: Any, d_out: Tensor | None, d_h: Tensor | None, d_c: Tensor | None) -> tuple[Tensor | None, ...]:
        plan = ctx.plan
        x, h0, c0, mask, out, kept, *weights = saved(ctx)
        layer = pack(plan.cell, plan.compute, x.shape[1], h0.shape[2], (), plan.isa, plan.directions)
        wanted = ctx.needs_input_grad  # plan, x, h0, c0, mask, weights
        d_out, d_h, d_c = (None if d is None else d.contiguous() for d in (d_out, d_h, d_c if c0 is not None else None))
        d_x = room(x, *x.shape) if wanted[1] else None
        d_h0 = torch.empty_like(h0) if wanted[2] else None
        d_c0 = torch.empty_like(c0) if wanted[3] else None
        d_weights = [torch.empty_like(w) if w is not None and want else None for w, want in zip(weights, wanted[5:], strict=True)]
        at = (*map(address, (x, h0, c0, mask, out)), 0, 0)
        gradients = tuple(map(address, (d_out, d_h, d_c, d_x, d_h0, d_c0)))
        fours = _fours(d_weights) if any(w is not None for w in d_weights) else []
        layer.backward(packed_at(plan.batch_sizes, len(x), h0.shape[1]), at, address(kept), _fours(weights), gradients, fours, torch.get_num_threads())
        return None, d_x, d_h0, d_c0, None, *d_weights
