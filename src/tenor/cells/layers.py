"""RNN, GRU and LSTM in the place of torch.nn's: the same arguments, parameters, state dict and results, on faster kernels,
with rows of any lengths and the dropouts that recurrent layers need."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from tenor.cells import via_torch
from tenor.cells.checks import check_hx, check_like, check_settings, check_state
from tenor.cells.dropout import dropout
from tenor.cells.kernels import Kernel, Pass, choose, lacks_format
from tenor.cells.places import places_of
from tenor.cells.reference import Weights
from tenor.cells.rows import Rows, to_rows
from tenor.errors import TenorError

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
Hidden = Tensor | tuple[Tensor, Tensor]


class _Recurrent(nn.Module):
    """What the three layers share.

    Args:
        input_size, hidden_size: features in and, per direction, out.
        num_layers: stacked layers.
        bias: whether there are bias_ih and bias_hh.
        batch_first: padded tensors are [B, T, features], not [T, B, features].
        dropout: on the outputs of each layer but the last.
        bidirectional: a second direction that reads each row from its last token.
        proj_size: LSTM only: h is a product of that size (arXiv 1402.1128v1); 0: none.
        device, dtype: of the parameters.
        compute: format of the matrix products' operands; states, cell states and sums stay float32 on the native path. None:
            torch.autocast's where that is on (outputs keep the input's dtype), else the parameters' dtype.
        variational_dropout: on the input of every layer, one mask a row for all steps (Gal and Ghahramani 2016, arXiv 1512.05287v5).
        recurrent_dropout: on h in the recurrent product, one mask a row for all steps (the same paper).
        weight_dropout: on weight_hh, drawn once a forward pass (DropConnect; Merity et al. 2017, arXiv 1708.02182v1).

    All four dropouts are shares in [0, 1) and act in training only.

    Raises:
        TenorError: an argument outside its range.
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        compute: torch.dtype | None,
        variational_dropout: float,
        recurrent_dropout: float,
        weight_dropout: float,
    ) -> None:
        super().__init__()
        self.cell, self.input_size, self.hidden_size, self.num_layers, self.proj_size = cell, input_size, hidden_size, num_layers, proj_size
        self.bias, self.batch_first, self.bidirectional, self.compute = bias, batch_first, bidirectional, compute
        self.dropout, self.variational_dropout = dropout, variational_dropout
        self.recurrent_dropout, self.weight_dropout = recurrent_dropout, weight_dropout
        check_settings(self)
        if dropout > 0 and num_layers == 1:
            warnings.warn(f"dropout={dropout} is on the outputs of all layers but the last, so with num_layers=1 it does nothing", stacklevel=3)
        self.directions = 2 if bidirectional else 1
        rows, out = _GATES[cell] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * self.directions
            shapes: list[tuple[int, ...]] = [(rows, width), (rows, out), *[(rows,)] * (2 * bias), *[(proj_size, hidden_size)] * (proj_size > 0)]
            for suffix in self._suffixes(layer):
                for name, shape in zip(self._names(), shapes, strict=True):
                    self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """U(-k, k), k = 1 / sqrt(hidden_size): torch.nn's, in its order."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: torch.nn has it, and code written for torch.nn calls it."""

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as torch.nn has them."""
        return [[getattr(self, name + suffix) for name in self._names()] for layer in range(self.num_layers) for suffix in self._suffixes(layer)]

    @property
    def path(self) -> str:
        """Which kernel runs a batch of 32 rows, and why: in training, or, where gradients are off (torch.no_grad), in reading, whatever
        train() or eval() say. Other batches may take another one: path_for. "none" where no kernel has the format."""
        return self.path_for(32)

    def path_for(self, batch: int, kind: Pass | None = None) -> str:
        """Which kernel runs a batch of that many rows, and why; kind None: as `path`. Raises TenorError if TENOR_KERNEL asks for one that cannot run."""
        device = self.weight_hh_l0.device
        compute = self._format(device)
        missing = lacks_format(compute, device)
        return f"none: {missing}" if missing else self._kernel(batch, compute, device, kind).why

    def forward(self, input: Tensor | PackedSequence, hx: Hidden | None = None, lengths: Tensor | Sequence[int] | None = None) -> tuple[Tensor | PackedSequence, Hidden]:
        """Run all steps of all rows.

        Args:
            input: a PackedSequence; or padded [T, B, I] ([B, T, I] if batch_first); or one row [T, I].
            hx: first states h0 [L*D, B, H], for the LSTM (h0, c0), in the order of the caller's rows; for one row [L*D, H]. None: zeros.
            lengths: [B] tokens of each row of a padded input, in any order, 0 to T; None: T each.

        Returns:
            The outputs of the last layer in the form of the input, features D*H, 0 after a row's last token; and the states
            after each row's own last token (the second direction: after its first), as hx. A row of length 0 keeps its hx.

        Raises:
            TenorError: wrong shape, dtype or device of input or hx; wrong lengths.
        """
        rows = to_rows(input, lengths, self.batch_first, self.input_size)
        device = rows.data.device
        compute, cast = self._format(device), _casts(device)
        check_like("The input", rows.data, self.weight_ih_l0.dtype, self.weight_ih_l0.device, cast)
        h0, c0 = self._first_states(hx, rows, cast)
        still: AbstractContextManager[object] = torch.autocast(device.type, enabled=False) if cast else nullcontext()
        with still:  # the kernels choose the format of each product themselves
            out, h_n, c_n = self._layers(rows.data, rows.batch_sizes, h0, c0, compute)
        last = rows.unsorted(h_n)
        return rows.output(out), last if c_n is None else (last, rows.unsorted(c_n))

    def step(self, x: Tensor, hx: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """One time step: x [B, I] and the states before it -> the outputs [B, H] and the states after it, [L, B, H].

        Steps one after another give what forward gives for all of them.

        Raises:
            TenorError: as forward; the layer is bidirectional; it is in training with dropouts whose mask holds for all steps.
        """
        if self.bidirectional:
            raise TenorError("step needs a layer of one direction: the second one begins at a row's last token. Build it with bidirectional=False, or call the layer on whole rows.")
        if self.training and (self.variational_dropout or self.recurrent_dropout or self.weight_dropout):
            raise TenorError("step would draw anew at each step what variational, recurrent and weight dropout draw once for all. Call eval() first, or the layer on whole rows.")
        if x.dim() != 2:
            raise TenorError(f"step takes x of the shape [rows, features]; it is {list(x.shape)}. Give one time step.")
        out, last = self.forward(PackedSequence(x, torch.full((min(1, len(x)),), len(x))), hx)
        return out.data, last

    def extra_repr(self) -> str:
        """The sizes, and what is not torch.nn's default."""
        names = ("bias", "batch_first", "dropout", "bidirectional", "proj_size", "compute", "variational_dropout", "recurrent_dropout", "weight_dropout")
        changed = [f"{n}={getattr(self, n)}" for n in names if getattr(self, n) not in (None, 0, False) or n == "bias"]
        return ", ".join([str(self.input_size), str(self.hidden_size), f"num_layers={self.num_layers}", *(c for c in changed if c != "bias=True")])

    def _names(self) -> list[str]:
        return ["weight_ih", "weight_hh", *["bias_ih", "bias_hh"] * self.bias, *["weight_hr"] * (self.proj_size > 0)]

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def _format(self, device: torch.device) -> torch.dtype:
        if self.compute is not None:
            return self.compute
        return torch.get_autocast_dtype(device.type) if _casts(device) else self.weight_hh_l0.dtype

    def _kernel(self, batch: int, compute: torch.dtype, device: torch.device, kind: Pass | None = None) -> Kernel:
        kind = kind or ("training" if torch.is_grad_enabled() else "reading")
        masked = self.training and self.recurrent_dropout > 0
        return choose(self.cell, self.hidden_size, batch, compute, device, kind=kind, masked=masked, projected=self.proj_size > 0)

    def _weights(self, layer: int) -> tuple[list[Weights], list[Tensor] | None]:
        """Weights and projections of each direction, the recurrent ones as weight_dropout leaves them."""
        groups: list[Weights] = []
        for suffix in self._suffixes(layer):
            w_ih, w_hh, b_ih, b_hh = (getattr(self, name + suffix, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            groups.append((w_ih, dropout(w_hh, self.weight_dropout, self.training) if self.weight_dropout else w_hh, b_ih, b_hh))  # type: ignore[arg-type]
        return groups, [getattr(self, "weight_hr" + s) for s in self._suffixes(layer)] if self.proj_size else None

    def _layers(self, x: Tensor, batch_sizes: Tensor, h0: Tensor, c0: Tensor | None, compute: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """All layers on packed rows: out [N, D*H], h_n and c_n [L*D, B, H]."""
        batch = h0.shape[1]
        kernel = self._kernel(batch, compute, x.device)
        variational = self.training and self.variational_dropout > 0
        if kernel.run is via_torch.run and x.device.type != "cpu" and len(batch_sizes) and not variational:
            found = [self._weights(layer) for layer in range(self.num_layers)]
            groups, flat = [g for weights, _ in found for g in weights], [p for _, projections in found for p in projections or ()]
            share = self.dropout if self.training else 0.0
            return via_torch.stack(self.cell, x, batch_sizes, h0, c0, groups, compute, projections=flat or None, layers=self.num_layers, dropout=share)
        h_n, c_n = [], []
        for layer in range(self.num_layers):
            if layer:
                x = dropout(x, self.dropout, self.training)
            if variational and len(x):
                x = x * F.dropout(x.new_ones(batch, x.shape[1]), self.variational_dropout)[places_of(batch_sizes).rows.to(x.device)]
            here = slice(layer * self.directions, (layer + 1) * self.directions)
            mask = F.dropout(torch.ones_like(h0[here]), self.recurrent_dropout) if self.training and self.recurrent_dropout else None
            weights, projections = self._weights(layer)
            run = kernel.run if projections is None else partial(kernel.run, projections=projections)
            x, h, c = run(self.cell, x, batch_sizes, h0[here], None if c0 is None else c0[here], weights, compute, mask)
            h_n.append(h)
            c_n += [] if c is None else [c]
        return x, torch.cat(h_n), torch.cat(c_n) if c_n else None

    def _first_states(self, hx: Hidden | None, rows: Rows, cast: bool) -> tuple[Tensor, Tensor | None]:
        """h0 and c0 as the kernels take them."""
        blocks, two = self.num_layers * self.directions, self.cell == "lstm"
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 1 + two]
        if hx is None:
            zeros = [rows.data.new_zeros(blocks, rows.batch, width) for width in widths]
            return zeros[0], zeros[1] if two else None
        given = check_hx(hx, two)
        states = []
        for name, state, width in zip(("h0", "c0"), given, widths, strict=False):
            check_state(name, state, [blocks, width] if rows.single else [blocks, rows.batch, width])
            check_like(name, state, rows.data.dtype, rows.data.device, cast)
            states.append(rows.sorted(state))
        return states[0], states[1] if two else None


def _casts(device: torch.device) -> bool:
    """Whether torch.autocast is on; devices without numbers (meta) have none."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman 1990). The arguments of torch.nn.RNN, and those of _Recurrent after the star.

    Raises:
        TenorError: nonlinearity is neither tanh nor relu; as _Recurrent.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        compute: torch.dtype | None = None,
        variational_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise TenorError(f"nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}.")
        shares = (variational_dropout, recurrent_dropout, weight_dropout)
        super().__init__(f"rnn_{nonlinearity}", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype, compute, *shares)
        self.nonlinearity = nonlinearity


class GRU(_Recurrent):
    """Gates r, z, n in torch's order, the reset gate after the product (arXiv 1406.1078v1). The arguments of torch.nn.GRU, and those of
    _Recurrent after the star.

    Raises:
        TenorError: as _Recurrent.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        compute: torch.dtype | None = None,
        variational_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        shares = (variational_dropout, recurrent_dropout, weight_dropout)
        super().__init__("gru", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype, compute, *shares)


class LSTM(_Recurrent):
    """Gates i, f, g, o in torch's order (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000). The arguments of torch.nn.LSTM,
    and those of _Recurrent after the star.

    Raises:
        TenorError: as _Recurrent.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        compute: torch.dtype | None = None,
        variational_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        shares = (variational_dropout, recurrent_dropout, weight_dropout)
        super().__init__("lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype, compute, *shares)
