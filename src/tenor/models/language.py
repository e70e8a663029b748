"""A language model in both directions: each direction of an encoder foretells the next word on its way. What pretraining trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tenor.config import ModelConfig
from tenor.data.batches import Batch
from tenor.data.text import UNK
from tenor.errors import TenorError
from tenor.models.encoder import Encoder
from tenor.models.sampled_softmax import Way, foretell
from tenor.models.scores import Scores


class LanguageModel(nn.Module):
    """Encoder and a dense layer a direction; words are foretold with the vectors that they are read with (Press and Wolf 2017, arXiv 1608.05859v3).

    Args:
        vocab: number of token ids.
        config: the network's sizes.
        dtype: of the products.

    Raises:
        TenorError: several layers of two directions; the second layer of one direction would read what the other foretells.
    """

    def __init__(self, vocab: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if config.bidirectional and config.layers > 1:
            raise TenorError("Pretraining in both directions needs a network of one layer; a second one would see the words that are to be foretold. Use --layers 1, or --one-way.")
        self.encoder = Encoder(vocab, config, dtype)
        self.directions = 1 + config.bidirectional
        # [D, E, H] and [D, E]
        self.head = nn.Parameter(torch.randn(self.directions, config.embedding, config.hidden) / config.hidden**0.5)
        self.head_bias = nn.Parameter(torch.zeros(self.directions, config.embedding))
        self.dropout = config.dropout
        self.dtype = dtype

    @property
    def path(self) -> str:
        return self.encoder.recurrent.path

    def freeze(self) -> None:
        if self.training:
            self.eval()

    def scores(self, batch: Batch, drawn: Tensor) -> Scores:
        """drawn: [S] int64, words drawn in proportion to their frequency. `rows` of the result are foretold words."""
        device = self.head.device
        tokens = batch.tokens._replace(data=batch.tokens.data.to(device))
        states = self.encoder.states(tokens)  # [N, D*H]
        earlier, later = (n.to(device) for n in neighbours(tokens.batch_sizes))
        ways = []
        for head, bias, (source, target) in zip(self.head, self.head_bias, ((earlier, later), (later, earlier))[: self.directions], strict=True):
            words = tokens.data[target]
            known = words != UNK  # <unk> stands for any rare word
            ways.append(Way(source[known], words[known], head, bias))
        found = foretell(states, ways, drawn.to(device), self.encoder.embedding.weight, self.dropout if self.training else 0.0, self.dtype)
        return Scores(found.loss, found.right, found.words, len(tokens.data))


def neighbours(batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Packed places of each two neighbouring tokens of a row: the earlier [M] and the later [M]; M = tokens - rows."""
    later = torch.arange(int(batch_sizes[0]), int(batch_sizes.sum()))
    return later - torch.repeat_interleave(batch_sizes[:-1], batch_sizes[1:]), later  # a row's place at step t is batch_sizes[t - 1] after that at t - 1
