"""Embedding, recurrent stack and pooling: packed token ids to one vector a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tenor.cells.layers import GRU, LSTM, RNN
from tenor.cells.passes import embed, max_mean
from tenor.config import ModelConfig

_CELLS: dict[str, type[LSTM] | type[GRU] | type[RNN]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Encoder(nn.Module):
    """Args: vocab: number of token ids; config: sizes and dropouts; dtype: of the recurrent layers' products."""

    def __init__(self, vocab: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab, config.embedding)
        between = config.dropout if config.layers > 1 else 0.0
        self.recurrent = _CELLS[config.cell](
            config.embedding, config.hidden, config.layers, dropout=between, bidirectional=config.bidirectional, compute=dtype
        )
        self.features = config.hidden * (2 if config.bidirectional else 1) * (2 if config.pooling == "max_mean" else 1)
        if config.init == "keras":
            keras_init(self)
        else:
            nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, tokens: PackedSequence) -> Tensor:
        """tokens: data [N] ids -> [B, features]"""
        sizes = tokens.batch_sizes
        words = features = None
        if self.training:
            words = self._dropped(len(tokens.data), share=self.config.word_dropout)  # whole words
            # The same features for all words of a text (Gal and Ghahramani 2016, arXiv 1512.05287v5).
            features = self._dropped(int(sizes[0]), self.config.embedding, share=self.config.embedding_dropout)
        x = embed(self.embedding.weight, tokens.data, sizes, words, features)  # [N, E]
        out, hx = self.recurrent(PackedSequence(x, sizes))
        if self.config.pooling == "last":
            finals = hx[0] if isinstance(hx, tuple) else hx  # [L*D, B, H]
            directions = 2 if self.config.bidirectional else 1
            return torch.cat(tuple(finals[-directions:]), 1)  # [B, D*H]
        return max_mean(out.data, sizes)

    def _dropped(self, *shape: int, share: float) -> Tensor | None:
        """0, or 1 / (1 - share); None where nothing is dropped."""
        return nn.functional.dropout(torch.ones(*shape, device=self.embedding.weight.device), share) if share else None


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
