"""A recurrent stack with frozen weights, a time step at a time: what a model that generates runs."""

from __future__ import annotations

import copy
from typing import NoReturn

import torch
from torch import Tensor

from tenor.cells import native
from tenor.cells.checks import check_hx, check_input, check_like, check_state
from tenor.cells.layers import GRU, LSTM, RNN
from tenor.errors import TenorError

States = Tensor | tuple[Tensor, Tensor]


class Stepper:
    """The layer's `step` in eval(), with the weights taken as they are now: later changes do not reach it.

    `step` brings the weights into the engine's order at each call, which at 512 units costs ten times the step itself; here that
    is done once. Where the engine does not run the layer, a copy of the layer steps on the kernel that it would take.

    Args:
        layer: RNN, GRU or LSTM of one direction.

    Raises:
        TenorError: another kind of layer, a bidirectional one, or as `layer.path`.

    It never changes, so copy and deepcopy give itself. It cannot be pickled: its weights are in the order of one CPU.
    """

    def __init__(self, layer: RNN | GRU | LSTM) -> None:
        if not isinstance(layer, RNN | GRU | LSTM):
            raise TenorError(f"A Stepper takes tenor.cells' RNN, GRU or LSTM, not {type(layer).__module__}.{type(layer).__qualname__}. Build one of these; it loads torch.nn's state dict.")
        if layer.bidirectional:
            raise TenorError("A Stepper needs a layer of one direction: the second one begins at a row's last token. Build it with bidirectional=False.")
        self.path = layer.path_for(1, "stepping")
        if self.path.startswith("none"):
            raise TenorError(f"No kernel steps this layer: {self.path.removeprefix('none: ')}")
        self._input, self._hidden, self._two = layer.input_size, layer.hidden_size, layer.cell == "lstm"
        self._like = layer.weight_ih_l0.detach()[:0]
        self._copy: RNN | GRU | LSTM | None = None
        self._layers: list[native.Frozen] = []
        if self.path.startswith("native"):
            compute = layer.compute or layer.weight_hh_l0.dtype
            self._layers = [native.Frozen(layer.cell, weights, compute) for weights in layer.all_weights]
        else:
            self._copy = copy.deepcopy(layer).eval().requires_grad_(False)

    def __repr__(self) -> str:
        return f"Stepper({self._input}, {self._hidden}: {self.path})"

    def __copy__(self) -> Stepper:
        return self

    def __deepcopy__(self, memo: object) -> Stepper:
        return self

    def __reduce__(self) -> NoReturn:
        raise TenorError("A Stepper cannot be pickled: its weights are in the order of this CPU. Save the layer's state_dict, and make a Stepper of the layer where it runs.")

    @torch.inference_mode()
    def __call__(self, x: Tensor, hx: States | None = None) -> tuple[Tensor, States]:
        """x [B, I] and the states before it (None: zeros) -> the outputs [B, H] and the states after it, [L, B, H].

        Raises:
            TenorError: wrong shape, dtype or device of x or hx.
        """
        if self._copy is not None:
            return self._copy.step(x, hx)
        check_input(x, (2,), "x", self._input)
        check_like("x", x, self._like.dtype, self._like.device, cast=False)
        shape = [len(self._layers), len(x), self._hidden]
        if hx is None:
            given: tuple[Tensor, ...] = (x.new_zeros(shape),) * (1 + self._two)
        else:
            given = check_hx(hx, self._two)
            for name, state in zip(("h0", "c0"), given, strict=False):
                check_state(name, state, shape)
                check_like(name, state, x.dtype, x.device, cast=False)
        after = []
        for i, layer in enumerate(self._layers):
            after.append(layer.step(x, *(state[i] for state in given)))
            x = after[-1][0]
        states = tuple(torch.stack(each) for each in zip(*after, strict=True))
        return x, (states[0], states[1]) if self._two else states[0]
