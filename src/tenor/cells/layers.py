"""RNN, GRU and LSTM over packed rows, on torch's kernels; torch.nn's parameter names, gate order and state dict.

On a CPU torch runs a PackedSequence step by step (LSTM 128 at batch 64: 7,000 tokens a second, forward and backward)
but a padded batch of one direction in oneDNN's fused kernel (98,000; bfloat16 167,000). A bidirectional layer on a
padded batch would start its second direction in the padding, so each direction runs by itself: the second one on rows
reversed inside their own length. Padding then comes last for both, and what comes later never changes what came before.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.utils.rnn import PackedSequence

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class _Gather(torch.autograd.Function):
    """Rows of x [M, F] at `index` [K] -> [K, F].

    `back` is the other way: every row of x that counts stands at `back` in the result, once. So the gradient is a gather
    too, where torch's own index_select would add row by row.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0].index_select(0, back), None, None


class _Pick(torch.autograd.Function):
    """Rows of x [M, F] at `index` [K] -> [K, F], where the rows of x that are not at `index` get no gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(x)  # type: ignore[attr-defined]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors  # type: ignore[attr-defined]
        grad = grads[0].new_zeros(ctx.rows, grads[0].shape[1])  # type: ignore[attr-defined]
        return grad.index_copy_(0, index, grads[0]), None


class Places:
    """Where each packed token stands in a padded batch [T, B], read forwards or backwards.

    Args:
        batch_sizes: [T] of a PackedSequence, on the CPU.
    """

    def __init__(self, batch_sizes: Tensor) -> None:
        self.steps, self.batch = len(batch_sizes), int(batch_sizes[0])
        time = torch.arange(self.steps)[:, None]  # [T, 1]
        row = torch.arange(self.batch)[None, :]  # [1, B]
        live = row < batch_sizes[:, None]  # [T, B]
        self.lengths = live.sum(0)  # [B]
        first = torch.cumsum(batch_sizes, 0) - batch_sizes  # [T] packed place of each step's first token
        forwards = torch.where(live, first[:, None] + row, 0)
        turned = torch.where(live, self.lengths[None, :] - 1 - time, 0)  # the step read at (t, b) from behind
        backwards = torch.where(live, first[turned] + row, 0)
        self.padded = (forwards.flatten(), backwards.flatten())  # [T*B] packed place; padding reads place 0
        place = (time * self.batch + row)[live]  # [N] padded place of each packed token
        place_turned = (turned * self.batch + row)[live]
        self.packed = (place, place_turned)
        self.rows = row.expand(self.steps, -1)[live]  # [N] which row each packed token belongs to
        self.last = first[self.lengths - 1] + torch.arange(self.batch)  # [B] packed place of each row's last token
        self.live = live

    def pad(self, x: Tensor, direction: int = 0) -> Tensor:
        """[N, F] packed -> [T, B, F]; what stands in the padding has no meaning and gets no gradient."""
        out: Tensor = _Gather.apply(x, self.padded[direction].to(x.device), self.packed[direction].to(x.device))  # type: ignore[no-untyped-call]
        return out.view(self.steps, self.batch, x.shape[1])

    def unpad(self, x: Tensor, direction: int = 0) -> Tensor:
        """[T, B, F] -> [N, F] packed."""
        out: Tensor = _Pick.apply(x.flatten(0, 1), self.packed[direction].to(x.device))  # type: ignore[no-untyped-call]
        return out


class _Recurrent(nn.Module):
    """What the three cells share.

    Args:
        input_size, hidden_size: features in and, per direction, out.
        num_layers: stacked layers.
        dropout: on the outputs of each layer but the last, while training.
        bidirectional: a second direction that reads each row from its last token.
        dtype: of the matrix products (bfloat16 accumulates in float32); weights and results stay float32.
    """

    cell: str

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0.0, bidirectional: bool = False, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.dropout, self.directions, self.dtype = dropout, 2 if bidirectional else 1, dtype
        rows = _GATES[self.cell] * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih{suffix}", nn.Parameter(torch.empty(rows, width)))
                self.register_parameter(f"weight_hh{suffix}", nn.Parameter(torch.empty(rows, hidden_size)))
                self.register_parameter(f"bias_ih{suffix}", nn.Parameter(torch.empty(rows)))
                self.register_parameter(f"bias_hh{suffix}", nn.Parameter(torch.empty(rows)))
        bound = 1 / math.sqrt(hidden_size)  # torch.nn.RNNBase.reset_parameters
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def _weights(self, suffix: str) -> list[Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, name + suffix).to(self.dtype) for name in names]

    @property
    def path(self) -> str:
        """Which kernel runs, and why."""
        if next(self.parameters()).is_cuda:
            return f"torch {self.cell}, cuDNN on packed rows: the device is a GPU"
        how = "oneDNN's fused kernel"
        if self.cell != "lstm":
            how = "a step at a time (torch has no fused kernel for it)"
        elif not (torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()):  # type: ignore[no-untyped-call]
            how = "a step at a time (this torch has oneDNN left out or switched off)"
        return f"torch {self.cell}, {how}, {str(self.dtype).removeprefix('torch.')}, each direction padded at its end: the device is a CPU"

    def forward(self, packed: PackedSequence, places: Places | None = None) -> tuple[PackedSequence, Tensor]:
        """Run all steps of all rows from a zero state.

        Args:
            packed: data [N, I], batch_sizes [T].
            places: of these batch_sizes, if the caller has them already.

        Returns:
            The outputs of the last layer, packed, data [N, D*H]; the state of each layer and direction after a row's
            last token (the second direction: after its first), [L*D, B, H].
        """
        places = places or Places(packed.batch_sizes)
        if packed.data.is_cuda:
            return self._cudnn(packed)
        x, finals = packed.data, []
        for layer in range(self.num_layers):
            if layer:
                x = nn.functional.dropout(x, self.dropout, self.training)
            x = x.to(self.dtype)
            outs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                out = self._run(places.pad(x, direction), suffix)
                outs.append(places.unpad(out, direction))
                # The second direction ends on a row's first token, and rows begin at the first B packed places.
                finals.append(outs[-1][: places.batch] if direction else outs[-1].index_select(0, places.last))
            x = torch.cat(outs, 1) if len(outs) > 1 else outs[0]
        return PackedSequence(x.float(), packed.batch_sizes), torch.stack(finals).float()

    def _zero_state(self, batch: int, layers: int, like: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        zero = torch.zeros(layers, batch, self.hidden_size, dtype=self.dtype, device=like.device)
        return (zero, zero) if self.cell == "lstm" else zero

    def _run(self, x: Tensor, suffix: str) -> Tensor:
        """One layer, one direction, padded: [T, B, I] -> [T, B, H]."""
        kernel = getattr(torch._VF, "rnn_tanh" if self.cell == "rnn" else self.cell)
        state = self._zero_state(x.shape[1], 1, x)
        out: Tensor = kernel(x, state, self._weights(suffix), True, 1, 0.0, self.training, False, False)[0]
        return out

    def _cudnn(self, packed: PackedSequence) -> tuple[PackedSequence, Tensor]:
        """All layers and directions in one call on packed rows."""
        kernel = getattr(torch._VF, "rnn_tanh" if self.cell == "rnn" else self.cell)
        weights = [w for layer in range(self.num_layers) for suffix in self._suffixes(layer) for w in self._weights(suffix)]
        data = packed.data.to(self.dtype)
        state = self._zero_state(int(packed.batch_sizes[0]), self.num_layers * self.directions, data)
        out, final, *_ = kernel(data, packed.batch_sizes, state, weights, True, self.num_layers, self.dropout, self.training, self.directions == 2)
        return PackedSequence(out.float(), packed.batch_sizes), final.float()


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (Elman 1990)."""

    cell = "rnn"


class GRU(_Recurrent):
    """Gates r, z, n in torch's order, the reset gate after the product (arXiv 1406.1078v1)."""

    cell = "gru"


class LSTM(_Recurrent):
    """Gates i, f, g, o in torch's order (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000)."""

    cell = "lstm"
