"""A recurrent stack that writes: one call of the engine draws many words, each read before the next."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenor.cells import native
from tenor.cells.layers import GRU, LSTM, RNN
from tenor.cells.reader import lacks_8_bits
from tenor.cells.stepper import States
from tenor.errors import TenorError


class Writer:
    """Embedding, layer and output with the weights taken as they are now, in the engine's order.

    Args:
        layer: RNN, GRU or LSTM of one direction, in float32, with products in float32 or bfloat16.
        embedding: [V, I], a row a word.
        weight, bias: [V, H] and [V], the logits' product. A bias of -inf: a word that is never drawn; all other weights are finite.
        eight_bits: the recurrent products in 8 bits, with a scale a unit of a gate; the logits' product keeps the layer's format.

    What it holds between calls is one text (or several side by side): calls from two threads wait for each other, and each goes on where the other ended.

    Raises:
        TenorError: the engine does not step this layer, has no 8-bit products for it, or there is no word.
    """

    def __init__(self, layer: RNN | GRU | LSTM, embedding: Tensor, weight: Tensor, bias: Tensor, eight_bits: bool = False) -> None:
        path = layer.path_for(1, "stepping")
        if not path.startswith("native") or layer.bidirectional or layer.weight_hh_l0.dtype != torch.float32:
            raise TenorError(f"A Writer needs a layer of one direction, in float32, that the engine steps; this one is {layer}: {path}. Use a Stepper.")
        if eight_bits and lacks_8_bits(layer.cell):
            raise TenorError(lacks_8_bits(layer.cell))
        self._layers, self._hidden, self._two = layer.num_layers, layer.hidden_size, layer.cell == "lstm"
        self.vocabulary, self._rows, self._lock = len(embedding), 0, threading.Lock()
        if not self.vocabulary:
            raise TenorError("A Writer needs one word at least; its embedding has none.")
        cast = [[w.detach().float().contiguous() for w in weights] for weights in layer.all_weights]
        embedding, weight, bias = (t.detach().float().contiguous() for t in (embedding, weight, bias))
        if not all(bool(w.isfinite().all()) for w in (embedding, weight, *(w for weights in cast for w in weights))):
            raise TenorError("A Writer needs finite weights, and these hold NaN or infinity: nothing can be drawn from what they give. Train the model again, at a lower rate.")
        flat = [w for weights in cast for w in (*weights, *[None] * (4 - len(weights)))]
        for i in range(self._layers):
            native.check_weights(layer.cell, self._hidden if i else layer.input_size, self._hidden, flat[4 * i : 4 * i + 4], torch.float32)
        for name, tensor, shape in (("embedding", embedding, (self.vocabulary, layer.input_size)), ("weight", weight, (self.vocabulary, self._hidden)), ("bias", bias, (self.vocabulary,))):
            if tensor.shape != shape or tensor.device.type != "cpu":
                raise TenorError(f"A Writer's {name} is {list(shape)} on the CPU; got {list(tensor.shape)} on {tensor.device}.")
        kind = getattr(native.engine().Cell, layer.cell)
        form = getattr(native.engine().Type, "bfloat16" if eight_bits else str(layer.compute or torch.float32).removeprefix("torch."))
        sizes = (layer.input_size, self._hidden, self.vocabulary)
        fours = [tuple(map(native.address, flat[i : i + 4])) for i in range(0, len(flat), 4)]
        output = (weight.data_ptr(), 0, bias.data_ptr(), 0)
        self._engine: Any = native.engine().Writer(native.isa(), kind, form, sizes, fours, embedding.data_ptr(), output, eight_bits, torch.get_num_threads())

    def begin(self, states: States, logits: Tensor) -> None:
        """Go on from states [L, B, H] and the logits [B, V] that came with them."""
        given = [t.detach().cpu().float().contiguous() for t in (states if isinstance(states, tuple) else (states,))]
        logits = logits.detach().cpu().float().contiguous()
        rows = len(logits)
        if len(given) != 1 + self._two or any(t.shape != (self._layers, rows, self._hidden) for t in given) or logits.shape != (rows, self.vocabulary):
            raise TenorError(f"A Writer begins with {1 + self._two} states [{self._layers}, B, {self._hidden}] and logits [B, {self.vocabulary}]; got {[list(t.shape) for t in (*given, logits)]}.")
        with self._lock:
            self._rows = 0  # should memory fail
            self._engine.begin(rows, given[0].data_ptr(), given[1].data_ptr() if self._two else 0, logits.data_ptr())
            self._rows = rows

    def begin_anew(self, rows: int) -> None:
        """Begin with states of zero; the first step gives the first logits."""
        zeros = torch.zeros(self._layers, rows, self._hidden)
        self.begin((zeros, zeros) if self._two else zeros, torch.zeros(rows, self.vocabulary))

    def step(self, words: Tensor) -> Tensor:
        """Read words [B] -> logits [B, V]."""
        if words.is_floating_point() or words.is_complex():
            raise TenorError(f"Words are whole numbers; got {words.dtype}.")
        words = words.cpu().long().contiguous()
        with self._lock:
            if words.shape != (self._rows,) or (self._rows and not 0 <= int(words.min()) <= int(words.max()) < self.vocabulary):
                raise TenorError(f"A Writer that began with {self._rows} rows reads as many words below {self.vocabulary}; got {words.tolist()}.")
            logits = torch.empty(self._rows, self.vocabulary)
            self._engine.step(words.data_ptr(), logits.data_ptr(), torch.get_num_threads())
        return logits

    def write(self, chances: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
        """chances [N, B], at least 0 and below 1 -> [N, B] words, drawn as models.generate's `draw` does, each read before the next."""
        chances = np.ascontiguousarray(chances, np.float64)
        if not (temperature >= 0 and top_k >= 0 and 0 < top_p <= 1):
            raise TenorError(f"temperature and top_k are at least 0, top_p is above 0 and at most 1; got {temperature}, {top_k}, {top_p}.")
        with self._lock:
            if chances.ndim != 2 or chances.shape[1] != self._rows or not ((chances >= 0) & (chances < 1)).all():
                raise TenorError(f"A Writer that began with {self._rows} rows draws by chances [N, {self._rows}], at least 0 and below 1; got {list(chances.shape)}.")
            words = np.empty(chances.shape, np.int64)
            self._engine.write(len(chances), chances.ctypes.data, temperature, top_k, top_p, words.ctypes.data, torch.get_num_threads())
        return words
