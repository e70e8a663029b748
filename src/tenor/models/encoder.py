"""Embedding, recurrent stack and pooling: packed token ids to one vector a row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tenor.cells.layers import GRU, LSTM, RNN
from tenor.cells.passes import embed, max_mean
from tenor.cells.reader import IN_8_BITS, Reader, has_8_bits, need_8_bits
from tenor.cells.reference import Weights
from tenor.config import ModelConfig
from tenor.errors import TenorError

CELLS: dict[str, type[LSTM] | type[GRU] | type[RNN]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


# A Reader's table has a row of all gates for every word. Beyond this all of a model's cost more memory than the speed is worth.
MOST_TABLE_BYTES = 512 << 20


class _Taken(NamedTuple):
    """A weight as a Reader took it. `memory` keeps its address from being used again."""

    weight: Tensor
    memory: Tensor
    changes: int  # that torch has counted

    def same(self, other: _Taken) -> bool:
        return self.weight is other.weight and self.memory.data_ptr() == other.memory.data_ptr() and self.changes == other.changes


class Encoder(nn.Module):
    """Frozen, a single layer on a CPU reads by a Reader.

    Args:
        vocab: number of token ids.
        config: sizes and dropouts.
        dtype: of the recurrent layers' products; torch.int8 for reading alone (what is differentiated is in bfloat16).

    Raises:
        TenorError: 8 bits where there are none: several layers, no engine, an instruction set (the CPU's or TENOR_ISA's) without AVX2, or TENOR_KERNEL forces a kernel without them.
    """

    def __init__(self, vocab: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.reading = dtype
        self._reader: tuple[list[_Taken], Reader] | None = None
        if dtype == torch.int8:
            need_8_bits(config.cell, f"It needs a model of one layer, and this one has {config.layers}. Use bfloat16 or float32." if config.layers > 1 else "")
        dtype = torch.bfloat16 if dtype == torch.int8 else dtype
        self.embedding = nn.Embedding(vocab, config.embedding)
        between = config.dropout if config.layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](
            config.embedding, config.hidden, config.layers, dropout=between, bidirectional=config.bidirectional, compute=dtype
        )
        self.features = config.hidden * (2 if config.bidirectional else 1) * (2 if config.pooling == "max_mean" else 1)
        if config.init == "keras":
            keras_init(self)
        else:
            nn.init.normal_(self.embedding.weight, std=0.1)

    @property
    def path(self) -> str:
        return self.recurrent.path + (IN_8_BITS if self.reading == torch.int8 else "")

    def forward(self, tokens: PackedSequence) -> Tensor:
        """tokens: data [N] ids -> [B, features]"""
        sizes = tokens.batch_sizes
        reader = None if self.training or torch.is_grad_enabled() else self._reader_now()
        if reader and self.config.pooling == "last":
            return torch.cat(tuple(reader.last(tokens.data, sizes)), 1)  # [B, D*H]
        if reader:
            return reader.pooled(tokens.data, sizes)
        return self.pooled(self.vectors(tokens), sizes)

    def pooled(self, x: Tensor, batch_sizes: Tensor) -> Tensor:
        """Vectors of the tokens as of `vectors`, packed by batch_sizes -> [B, features]"""
        out, hx = self.recurrent(PackedSequence(x, batch_sizes))
        if self.config.pooling == "last":
            finals = hx[0] if isinstance(hx, tuple) else hx  # [L*D, B, H]
            directions = 2 if self.config.bidirectional else 1
            return torch.cat(tuple(finals[-directions:]), 1)  # [B, D*H]
        return max_mean(out.data, batch_sizes)

    def states(self, tokens: PackedSequence) -> Tensor:
        """The outputs at all steps: [N, D*H], packed."""
        states: Tensor = self.recurrent(PackedSequence(self.vectors(tokens), tokens.batch_sizes))[0].data
        return states

    def vectors(self, tokens: PackedSequence) -> Tensor:
        """What the recurrent layers read, dropped out while training: [N, E], packed."""
        sizes = tokens.batch_sizes
        words = features = None
        if self.training:
            words = self._dropped(len(tokens.data), share=self.config.word_dropout)  # whole words
            # The same features for all words of a text (Gal and Ghahramani 2016, arXiv 1512.05287v5).
            features = self._dropped(int(sizes[0]), self.config.embedding, share=self.config.embedding_dropout)
        return embed(self.embedding.weight, tokens.data, sizes, words, features)

    def freeze(self) -> Encoder:
        """eval(), and from now to train() or eval() what is read without gradients is read by a Reader, if there is one for this network.

        The weights are then as good as copied. Another tensor in the place of one, or an operation of torch on it, ends it; what goes
        round torch's count of changes (`.data`, fused optimisers) is not noticed: call train() first.

        Raises:
            TenorError: int8 was asked for and cannot be had: a table too large, another device, weights that are not finite.
        """
        if self._reader_now() is not None:
            return self
        self.eval()
        layer, table = self.recurrent, self.embedding.weight
        fits = table_fits(len(table), self.config, self.reading)
        eight = self.reading == torch.int8  # asked for: had, or refused
        if eight and not fits:
            raise TenorError(f"Precision int8 looks words up in a table, which for this model takes more than {MOST_TABLE_BYTES // self.config.networks >> 20} MB. Use bfloat16 or float32.")
        if eight or (self.config.layers == 1 and fits and layer.path.startswith("native")):
            weights: list[Weights] = [(w_ih, w_hh, b_ih, b_hh) for w_ih, w_hh, b_ih, b_hh in layer.all_weights]
            self._reader = (self._taken(), Reader(layer.cell, table, weights, self.reading))
        return self

    def train(self, mode: bool = True) -> Encoder:
        self._reader = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_reader": None}  # a copy makes its own

    def _reader_now(self) -> Reader | None:
        """The Reader, unless a weight has changed since."""
        found = self._reader
        return found[1] if found and all(a.same(b) for a, b in zip(found[0], self._taken(), strict=True)) else None

    def _taken(self) -> list[_Taken]:
        return [_Taken(w, w.detach(), 0 if w.is_inference() else w._version) for w in (self.embedding.weight, *self.recurrent.parameters())]

    def _dropped(self, *shape: int, share: float) -> Tensor | None:
        """0, or 1 / (1 - share); None where nothing is dropped."""
        return nn.functional.dropout(torch.ones(*shape, device=self.embedding.weight.device), share) if share else None


def table_fits(vocab: int, config: ModelConfig, dtype: torch.dtype) -> bool:
    """Whether a Reader's table of so many tokens is small enough."""
    sums = (2 if config.bidirectional else 1) * {"lstm": 4, "gru": 4, "rnn": 1}[config.cell] * -(-config.hidden // 16) * 16
    return vocab * sums * (4 if dtype == torch.float32 else 2) <= MOST_TABLE_BYTES // config.networks


def reads_8_bits(vocab: int, config: ModelConfig) -> bool:
    """Whether a network of these sizes can read in 8 bits on this CPU."""
    return config.layers == 1 and table_fits(vocab, config, torch.int8) and has_8_bits(config.cell)


def keras_init(encoder: Encoder) -> None:
    """Keras' defaults: embedding U(-0.05, 0.05), input weights Glorot uniform over all gates together, recurrent weights
    orthogonal likewise, biases 0 and the LSTM's forget gate 1 (keras.layers.LSTM, version 3)."""
    nn.init.uniform_(encoder.embedding.weight, -0.05, 0.05)
    hidden = encoder.config.hidden
    with torch.no_grad():
        for name, weight in encoder.recurrent.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(weight)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(weight)
            else:
                weight.zero_()
                if encoder.config.cell == "lstm" and name.startswith("bias_ih"):
                    weight[hidden : 2 * hidden] = 1.0
