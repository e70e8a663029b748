"""One-to-many: what comes next, character by character. Network, loss, decoding, main metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenor.cells.dropout import dropout
from tenor.cells.reader import IN_8_BITS, need_8_bits
from tenor.cells.stepper import States, Stepper
from tenor.cells.writer import Writer
from tenor.config import ModelConfig
from tenor.data.streams import IGNORED, Segment
from tenor.data.text import PAD, UNK
from tenor.errors import TenorError
from tenor.models.encoder import CELLS
from tenor.models.scores import Scores

# The network -----------------------------------------------------------------------------------------------------------


class TextGenerator(nn.Module):
    """Embedding, recurrent stack of one direction, softmax over all tokens.

    Args:
        vocab: number of token ids.
        config: the network's sizes and dropouts.
        dtype: of the products; torch.int8 for writing and measuring alone: recurrent products in 8 bits, all others in bfloat16.
        streams: rows whose state is carried from one training batch to the next; 0 for a network that is not trained.

    `carried` [1 or 2, L, streams, H] is that state: a buffer, so that a checkpoint has it.
    """

    carried: Tensor

    def __init__(self, vocab: int, config: ModelConfig, dtype: torch.dtype = torch.float32, streams: int = 0) -> None:
        super().__init__()
        if config.bidirectional:
            raise TenorError("A model that generates reads one way: its second direction would have read what comes next. Set bidirectional=False.")
        self.eight_bits = dtype == torch.int8
        if self.eight_bits:
            need_8_bits(config.cell)
            dtype = torch.bfloat16
        self.config, self.dtype = config, dtype
        self.embedding = nn.Embedding(vocab, config.embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        between = config.dropout if config.layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](config.embedding, config.hidden, config.layers, dropout=between, weight_dropout=config.weight_dropout, compute=dtype)
        # Tied, a state must first become as wide as a token's vector (Press and Wolf 2017, arXiv 1608.05859v3).
        self.narrow = nn.Linear(config.hidden, config.embedding) if config.tied and config.hidden != config.embedding else None
        self.output = None if config.tied else nn.Linear(config.hidden, vocab)
        self.bias = nn.Parameter(torch.zeros(vocab)) if config.tied else None
        self.register_buffer("carried", torch.zeros(1 + (config.cell == "lstm"), config.layers, streams, config.hidden))

    @property
    def path(self) -> str:
        return self.recurrent.path + (IN_8_BITS if self.eight_bits else "")

    def freeze(self) -> None:
        if self.training:
            self.eval()

    def forward(self, inputs: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """inputs [T, B] ids and the states before them (None: zeros) -> logits [T, B, V], and the states after, [L, B, H] each."""
        x = self.embedding(inputs)  # [T, B, E]
        if self.training and self.config.embedding_dropout:  # the same features of all tokens of a row (Gal and Ghahramani 2016, arXiv 1512.05287v5)
            x = x * F.dropout(x.new_ones(x.shape[1:]), self.config.embedding_dropout)
        out, states = self.recurrent(x, states)  # [T, B, H]
        return self.logits(out), states

    def logits(self, out: Tensor) -> Tensor:
        """[..., H] -> [..., V]"""
        out = dropout(out, self.config.dropout, self.training)
        if self.output is not None:
            return self._product(out, self.output.weight, self.output.bias)
        if self.narrow is not None:
            out = self._product(out, self.narrow.weight, self.narrow.bias)
        assert self.bias is not None
        return self._product(out, self.embedding.weight, self.bias)

    def writer(self, never: Sequence[int] = ()) -> Writer | None:
        """What writes with the weights as they are now; tokens of `never` get no chance. None: the engine does not run these layers."""
        if not self.recurrent.path_for(1, "stepping").startswith("native"):
            if self.eight_bits:
                raise TenorError(f"Precision int8 needs the native kernel; here runs {self.recurrent.path_for(1, 'stepping')}. Use bfloat16 or float32.")
            return None
        words: Tensor = self.embedding.weight  # [V, E]
        if self.output is not None:
            weight, bias = self.output.weight.detach(), self.output.bias.detach()
        else:
            assert self.bias is not None
            weight, bias = words.detach(), self.bias.detach()
            if self.narrow is not None:  # one product for both
                weight, bias = weight @ self.narrow.weight.detach(), weight @ self.narrow.bias.detach() + bias
        bias = bias.clone()
        bias[list(never)] = -math.inf
        return Writer(self.recurrent, words.detach(), weight, bias, self.eight_bits)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x.to(self.dtype), weight.to(self.dtype)).float() + bias

    # The loss ----------------------------------------------------------------------------------------------------------

    def scores(self, inputs: Tensor, targets: Tensor, fresh: bool) -> Scores:
        """A Segment -> mean nats a token. States go on where the batch before ended, without its gradients; fresh: from zeros. `rows` of the result are tokens that count."""
        rows, device = inputs.shape[1], self.embedding.weight.device
        before = torch.zeros_like(self.carried[:, :, :rows]) if fresh else self.carried[:, :, :rows].clone()
        logits, after = self(inputs.to(device), (before[0], before[1]) if len(before) == 2 else before[0])
        with torch.no_grad():
            self.carried[:, :, :rows] = torch.stack(after) if isinstance(after, tuple) else after[None]
        wanted, flat = targets.flatten().to(device), logits.flatten(0, 1)
        counted = int((wanted != IGNORED).sum())
        loss = F.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum") / max(1, counted)
        return Scores(loss, int((flat.detach().argmax(1) == wanted).sum()), counted, inputs.numel())


# The main metric -------------------------------------------------------------------------------------------------------


def nats(model: TextGenerator, segments: Iterable[Segment]) -> tuple[float, int, int]:
    """The sum of -ln p over the tokens that count; how many these are; how many of them got the greatest probability."""
    model.freeze()
    total, right, rows = 0.0, 0, 0
    states: States | None = None
    writer = model.writer() if model.eight_bits else None
    with torch.inference_mode():
        for segment in segments:
            device = model.embedding.weight.device
            if writer is not None:
                if segment.fresh:
                    writer.begin_anew(segment.inputs.shape[1])
                logits = torch.stack([writer.step(tokens) for tokens in segment.inputs])
            else:
                logits, states = model(segment.inputs.to(device), None if segment.fresh else states)
            wanted, flat = segment.targets.flatten().to(device), logits.flatten(0, 1)
            total += float(F.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"))
            right, rows = right + int((flat.argmax(1) == wanted).sum()), rows + int((wanted != IGNORED).sum())
    return total, rows, right


# Decoding --------------------------------------------------------------------------------------------------------------


AT_ONCE = 16  # tokens of a call of the engine: 1 to 3 ms at 512 units, so that a text still streams


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    temperature divides the logits: below 1 surer, above 1 wilder; 0 takes the most probable token. top_k: among so many tokens (and those that tie with the last of them);
    0: all. top_p: among the most probable tokens that together have this probability (Holtzman et al. 2020, arXiv 1904.09751v2); 1: all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.temperature < math.inf:
            wrong.append(f"temperature must be at least 0; got {self.temperature}")
        if self.top_k < 0:
            wrong.append(f"top-k must be at least 1, or 0 for all tokens; got {self.top_k}")
        if not 0 < self.top_p <= 1:
            wrong.append(f"top-p must be above 0 and at most 1; got {self.top_p}")
        if self.seed < 0:
            wrong.append(f"seed must be at least 0; got {self.seed}")
        if wrong:
            raise TenorError("; ".join(wrong) + ".")


def draw(logits: np.ndarray, sampling: Sampling, chances: np.ndarray) -> np.ndarray:
    """logits [B, V] and [B] numbers from 0 to 1 -> [B] tokens."""
    if sampling.temperature == 0 or sampling.top_k == 1:
        best: np.ndarray = logits.argmax(1)
        return best
    logits = logits.astype(np.float64)
    logits = (logits - logits.max(1, keepdims=True)) / sampling.temperature
    if 0 < sampling.top_k < logits.shape[1]:
        least = np.partition(logits, -sampling.top_k, 1)[:, -sampling.top_k, None]
        logits = np.where(logits >= least, logits, -np.inf)
    shares = np.exp(logits)
    shares /= shares.sum(1, keepdims=True)
    if sampling.top_p < 1:
        order = np.argsort(-shares, 1, kind="stable")
        ordered = np.take_along_axis(shares, order, 1)
        before = np.cumsum(ordered, 1) - ordered  # of the more probable ones; the first always stays
        np.put_along_axis(shares, order, np.where(before < sampling.top_p, ordered, 0), 1)
    upto = np.cumsum(shares, 1)
    places: np.ndarray = np.minimum((upto <= chances[:, None] * upto[:, -1:]).sum(1), logits.shape[1] - 1)
    return places


@torch.inference_mode()
def continued(model: TextGenerator, prompt: np.ndarray, sampling: Sampling, rows: int = 1, never: Sequence[int] = (PAD, UNK)) -> Iterator[np.ndarray]:
    """[N] ids, N at least 1 -> [rows] tokens a step, for ever: so many continuations of the same prompt, side by side. Tokens of `never` are not drawn."""
    model.freeze()
    rng = np.random.default_rng(sampling.seed)
    device = model.embedding.weight.device
    logits, states = model(torch.from_numpy(prompt.astype(np.int64))[:, None].to(device))
    logits = logits[-1].expand(rows, -1)
    states = tuple(s.expand(-1, rows, -1).contiguous() for s in states) if isinstance(states, tuple) else states.expand(-1, rows, -1).contiguous()
    writer = model.writer(never)
    if writer is not None:
        writer.begin(states, logits.index_fill(1, torch.tensor(never), -math.inf))
        while True:
            yield from writer.write(rng.random((AT_ONCE, rows)), sampling.temperature, sampling.top_k, sampling.top_p)
    stepper = Stepper(model.recurrent)
    while True:
        found = logits.cpu().numpy().copy()
        found[:, never] = -np.inf
        tokens = draw(found, sampling, rng.random(rows))
        yield tokens
        out, states = stepper(model.embedding(torch.from_numpy(tokens).to(device)), states)
        logits = model.logits(out)
