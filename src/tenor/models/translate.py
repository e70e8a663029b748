"""Many-to-many of another length: a text to its counterpart. Network, loss, decoding, main metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from tenor.cells.dropout import dropout
from tenor.cells.places import pick, places_of
from tenor.cells.stepper import States, Stepper
from tenor.config import TranslateConfig
from tenor.data.pieces import BREAK
from tenor.data.text import PAD, UNK
from tenor.errors import TenorError
from tenor.models.encoder import CELLS
from tenor.models.scores import Scores
from tenor.models.token_loss import token_loss

# The network -----------------------------------------------------------------------------------------------------------


class Memory(NamedTuple):
    """What the decoder looks at. values [B, S, H] are the encoder's outputs, keys [B, S, H] what they are found by, seen [B, S] where there is a token."""

    values: Tensor
    keys: Tensor
    seen: Tensor


class Thought(NamedTuple):
    """The decoder between two steps: the states of its two parts, [1, B, H] and [L, B, H] each, and what it said last, [B, E]."""

    reader: States
    writer: States
    said: Tensor


class TextTranslator(nn.Module):
    """Bidirectional encoder; a decoder that reads what was written so far, looks at the source, and writes.

    The states of the decoder's first layer choose where to look; its other layers run over these states and what was seen there. So the attention of a step depends on none of
    the attention before it, all steps of a training batch are computed at once, and still what was looked at is remembered (the layout of Wu et al. 2016, arXiv 1609.08144v2).
    With `feeding` what was said also goes into the first layer (input feeding; Luong et al. 2015, arXiv 1508.04025v5), and training goes step by step.

    Args:
        source_vocab, target_vocab: numbers of token ids; the same where one table serves both.
        config: sizes and dropouts.
        dtype: of the products.
        smoothing: share of each answer that is spread over all tokens, in training.
    """

    def __init__(self, source_vocab: int, target_vocab: int, config: TranslateConfig, dtype: torch.dtype = torch.float32, smoothing: float = 0.0) -> None:
        super().__init__()
        if config.hidden % 2:
            raise TenorError(f"A model that translates needs an even number of units, since each direction of its encoder has a half of them; got {config.hidden}.")
        self.config, self.dtype, self.smoothing = config, dtype, smoothing
        cell, hidden, width = CELLS[config.cell], config.hidden, config.embedding
        self.source_embedding = None if config.shared else nn.Embedding(source_vocab, width)
        self.embedding = nn.Embedding(target_vocab, width)
        between = config.dropout if config.layers > 1 else 0.0
        self.encoder = cell(width, hidden // 2, config.layers, dropout=between, bidirectional=True, compute=dtype)
        self.bridge = nn.Linear(hidden, (1 + config.layers) * hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.query = nn.Linear(hidden, hidden)
        self.match = nn.Linear(hidden, 1, bias=False) if config.attention == "additive" else None
        self.reader = cell(width * (2 if config.feeding else 1), hidden, compute=dtype)
        self.writer = cell(2 * hidden, hidden, config.layers, dropout=between, compute=dtype)
        self.narrow = nn.Linear(2 * hidden, width)
        self.bias = nn.Parameter(torch.zeros(target_vocab))  # the tokens' vectors are the rest of the output (Press and Wolf 2017, arXiv 1608.05859v3)
        self._begin()

    def _begin(self) -> None:
        """First weights under which looking is soon learnt: with torch.nn's own, a small code of digits took ten times the epochs, or was never learnt."""
        for name, p in self.named_parameters():
            if "embedding" in name:  # what is read is multiplied by sqrt(E), and has variance 1; what is said is not
                nn.init.normal_(p, std=self.config.embedding**-0.5)
            elif name in ("key.weight", "query.weight", "narrow.weight", "bridge.weight"):
                nn.init.xavier_uniform_(p)
            elif "bias_ih" in name and self.config.cell == "lstm":  # what is remembered stays (Jozefowicz et al. 2015)
                with torch.no_grad():
                    p[len(p) // 4 : len(p) // 2] = 1

    @property
    def path(self) -> str:
        """The kernel of the encoder, and of the decoder's layers those that are others."""
        return "; decoder: ".join(dict.fromkeys(layer.path for layer in (self.encoder, self.reader, self.writer)))

    def freeze(self) -> None:
        if self.training:
            self.eval()

    def encode(self, source: PackedSequence) -> tuple[Memory, Thought]:
        """Packed ids -> what the decoder looks at, and the state that it begins with."""
        sizes = source.batch_sizes
        x = self._embedded(self.source_embedding or self.embedding, source.data, sizes)
        out, hx = self.encoder(PackedSequence(x, sizes))
        places = places_of(sizes)
        values = self._dropped(places.pad(out.data)).transpose(0, 1)  # [B, S, H]
        h = hx[0] if isinstance(hx, tuple) else hx
        first = torch.tanh(self._linear(self.bridge, torch.cat((h[-2], h[-1]), 1)))  # [B, (1 + L) H]
        parts = first.view(len(first), -1, self.config.hidden).transpose(0, 1).contiguous()  # [1 + L, B, H]
        memory = Memory(values, self._linear(self.key, values), places.live.t().to(values.device))
        return memory, Thought(self._states(parts[:1]), self._states(parts[1:]), first.new_zeros(len(first), self.config.embedding))

    def forward(self, source: PackedSequence, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """source: packed ids. inputs: [T, B] ids, each row begun with BREAK. lengths: [B] of the rows. -> what is said [T, B, E], and where was looked [B, T, S]."""
        memory, thought = self.encode(source)
        x = self._embedded(self.embedding, inputs, None)
        if self.config.feeding:
            return self._said_in_steps(x, memory, thought)
        read, _ = self.reader(x, thought.reader, lengths=lengths)  # [T, B, H]
        weights = self._look(read.transpose(0, 1), memory)
        seen = (weights @ memory.values).transpose(0, 1)  # [T, B, H]
        written, _ = self.writer(torch.cat((self._dropped(read), seen), 2), thought.writer, lengths=lengths)
        return self._say(written, seen), weights

    def step(self, tokens: Tensor, thought: Thought, memory: Memory, reader: Callable[..., Any], writer: Callable[..., Any]) -> tuple[Tensor, Tensor, Thought]:
        """[B * K] ids of the last tokens, K rows for each of the B of the memory -> what is said [B * K, E], where was looked [B * K, S], and the state after. reader, writer: Steppers of the two."""
        return self._stepped(self._embedded(self.embedding, tokens[None], None)[0], thought, memory, reader, writer)

    def logits(self, said: Tensor) -> Tensor:
        """[..., E] -> [..., V], in reading."""
        return F.linear(said.to(self.dtype), self.embedding.weight.to(self.dtype)).float() + self.bias

    def _said_in_steps(self, x: Tensor, memory: Memory, thought: Thought) -> tuple[Tensor, Tensor]:
        said, weights = [], []
        for each in x:
            out, where, thought = self._stepped(each, thought, memory, self.reader.step, self.writer.step)
            said.append(out)
            weights.append(where)
        return torch.stack(said), torch.stack(weights, 1)

    def _stepped(self, x: Tensor, thought: Thought, memory: Memory, reader: Callable[..., Any], writer: Callable[..., Any]) -> tuple[Tensor, Tensor, Thought]:
        read, after_reading = reader(torch.cat((x, thought.said), 1) if self.config.feeding else x, thought.reader)
        weights = self._look(read.view(len(memory.values), -1, read.shape[1]), memory)  # [B, K, S]
        seen = (weights @ memory.values).flatten(0, 1)
        written, after_writing = writer(torch.cat((self._dropped(read), seen), 1), thought.writer)
        said = self._say(written, seen)
        return said, weights.flatten(0, 1), Thought(after_reading, after_writing, said)

    def _look(self, queries: Tensor, memory: Memory) -> Tensor:
        """[B, T, H] -> weights [B, T, S], 0 where there is no token."""
        queries = self._linear(self.query, queries)
        if self.match is None:  # scaled dot product (Vaswani et al. 2017, arXiv 1706.03762v7)
            scores = queries @ memory.keys.transpose(1, 2) / math.sqrt(self.config.hidden)
        else:  # additive (Bahdanau et al. 2015, arXiv 1409.0473v7)
            scores = self.match(torch.tanh(queries[:, :, None] + memory.keys[:, None]))[..., 0]
        return scores.masked_fill(~memory.seen[:, None], -math.inf).softmax(2)

    def _say(self, written: Tensor, seen: Tensor) -> Tensor:
        return torch.tanh(self._linear(self.narrow, torch.cat((self._dropped(written), seen), -1)))

    def _linear(self, layer: nn.Linear, x: Tensor) -> Tensor:
        out = F.linear(x.to(self.dtype), layer.weight.to(self.dtype)).float()
        return out if layer.bias is None else out + layer.bias

    def _dropped(self, x: Tensor) -> Tensor:
        """[..., B, H]: the same features in all steps that are given at once."""
        share = self.config.dropout
        return x * F.dropout(x.new_ones(x.shape[-2:]), share) if self.training and share else x

    def _embedded(self, table: nn.Embedding, ids: Tensor, sizes: Tensor | None) -> Tensor:
        """[N] packed (with their sizes) or [T, B] ids -> vectors; the same features are dropped in all tokens of a row (Gal and Ghahramani 2016, arXiv 1512.05287v5)."""
        x: Tensor = table(ids.to(table.weight.device)) * math.sqrt(self.config.embedding)
        share = self.config.embedding_dropout
        if not (self.training and share):
            return x
        mask = F.dropout(x.new_ones(ids.shape[1] if sizes is None else int(sizes[0]), x.shape[-1]), share)
        return x * (mask if sizes is None else mask[places_of(sizes).rows.to(x.device)])

    def _states(self, h: Tensor) -> States:
        return (h, torch.zeros_like(h)) if self.config.cell == "lstm" else h

    # The loss ----------------------------------------------------------------------------------------------------------

    def scores(self, source: PackedSequence, target: Tensor) -> Scores:
        """A Facing -> mean nats a target token, its end included. `rows` of the result are target tokens."""
        device = self.bias.device
        inputs, wanted = target[:-1], target[1:]
        counted = (wanted != PAD).flatten().nonzero()[:, 0]
        said, _ = self(source, inputs, (wanted != PAD).sum(0))
        said = dropout(pick(said.flatten(0, 1), counted), self.config.dropout, self.training)
        wanted = wanted.flatten()[counted].to(device)
        loss, right = token_loss(said, self.embedding.weight, self.bias, wanted, self.smoothing if self.training else 0.0, self.dtype)
        return Scores(loss, right, len(wanted), len(wanted) + len(source.data))


# Decoding --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """How a translation is looked for.

    beam: so many beginnings are followed side by side; 1: always the most probable token. length_penalty: of all found, the one with the greatest log-probability divided by
    its number of tokens to this power (Wu et al. 2016, arXiv 1609.08144v2); 0: by the probability alone, which favours short ones.
    """

    beam: int = 5
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        wrong = []
        if self.beam < 1:
            wrong.append(f"beam must be at least 1; got {self.beam}")
        if not 0 <= self.length_penalty < math.inf:
            wrong.append(f"length penalty must be at least 0; got {self.length_penalty}")
        if wrong:
            raise TenorError("; ".join(wrong) + ".")


class Found(NamedTuple):
    """A translation: [n] ids without its end, where was looked at each of them and at the end [n + 1, S], and its log-probability divided as Search says."""

    ids: np.ndarray
    looked: np.ndarray
    score: float


@torch.inference_mode()
def found(model: TextTranslator, source: PackedSequence, search: Search, limits: np.ndarray) -> list[Found]:
    """The best translation of each row of a packed batch, all side by side. limits: [B] tokens at most. <unk> is written only where the source has one."""
    model.freeze()
    memory, thought = model.encode(source)
    reader, writer = Stepper(model.reader), Stepper(model.writer)
    device, beam = memory.values.device, search.beam
    unknown = np.isin(np.arange(len(limits)), places_of(source.batch_sizes).rows[source.data.cpu() == UNK].numpy())  # [B]
    rows = np.arange(len(limits))  # the sentences that are not done, `beam` rows each
    spread = torch.arange(len(limits), device=device).repeat_interleave(beam)
    thought = _chosen(thought, spread)
    totals = torch.full((len(limits), beam), -math.inf, device=device)
    totals[:, 0] = 0  # all beginnings are the same one
    written = torch.full((len(limits), beam, 1), BREAK, device=device)
    looked = torch.zeros(len(limits), beam, 0, memory.seen.shape[1], device=device)
    ends: list[list[Found]] = [[] for _ in limits]
    while len(rows):
        said, where, thought = model.step(written[:, :, -1].flatten(), thought, memory, reader, writer)
        chances = model.logits(said).log_softmax(1).view(len(rows), beam, -1)
        chances[:, :, PAD] = -math.inf
        chances[torch.from_numpy(~unknown[rows]), :, UNK] = -math.inf
        full = written.shape[2] > limits[rows]
        if full.any():
            must = torch.from_numpy(full).to(device)
            rest = chances[must, :, BREAK]
            chances[must] = -math.inf
            chances[must, :, BREAK] = rest
        best, place = (totals[:, :, None] + chances).flatten(1).topk(2 * beam)  # at most `beam` of them are ends: one a beginning
        parent, token = place // chances.shape[2], place % chances.shape[2]
        block = torch.arange(len(rows), device=device)[:, None]
        written = torch.cat((written[block, parent], token[:, :, None]), 2)
        looked = torch.cat((looked[block, parent], where.view(len(rows), beam, 1, -1)[block, parent]), 2)
        ended = token == BREAK
        for i, j in (ended[:, :beam] & best[:, :beam].isfinite()).nonzero().tolist():
            ids = written[i, j, 1:-1].cpu().numpy()
            ends[rows[i]].append(Found(ids, looked[i, j].cpu().numpy(), float(best[i, j]) / (len(ids) + 1) ** search.length_penalty))
        going = ended.long().argsort(dim=1, stable=True)[:, :beam]
        alive = torch.from_numpy(np.array([len(ends[r]) < beam for r in rows]) & ~full)
        block, going = block[alive], going[alive]
        totals, written, looked = best[block, going], written[block, going], looked[block, going]
        kept = (block * beam + parent[block, going]).flatten()  # the rows that go on
        memory, thought, rows = Memory(*(m[alive.to(device)] for m in memory)), _chosen(thought, kept), rows[alive.numpy()]
    return [max(each, key=lambda e: e.score) for each in ends]


def _chosen(thought: Thought, rows: Tensor) -> Thought:
    reader, writer = (tuple(s[:, rows] for s in states) if isinstance(states, tuple) else states[:, rows] for states in (thought.reader, thought.writer))
    return Thought(reader, writer, thought.said[rows])  # type: ignore[arg-type]


# The main metric -------------------------------------------------------------------------------------------------------


def agreement(answers: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """bleu (13a, cased) and chrf of a whole corpus, each with its signature, by sacreBLEU (Post 2018, arXiv 1804.08771v2)."""
    from sacrebleu.metrics import BLEU, CHRF

    result: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        result[name] = float(metric.corpus_score(list(answers), [list(references)]).score)
        result[f"{name}_signature"] = str(metric.get_signature())
    return result
