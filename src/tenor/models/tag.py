"""Many-to-many, one output a token: a tag a word. Network, loss, decoding, main metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from tenor.cells.passes import embed
from tenor.cells.places import Places
from tenor.config import TagConfig
from tenor.data.batches import by_length
from tenor.data.lexicon import Encoded, Lexicon, TagBatch, batch_of
from tenor.data.spans import marks_spans, span_scores
from tenor.data.text import UNK
from tenor.models.crf import Crf
from tenor.models.encoder import CELLS
from tenor.models.ensemble import Ensemble
from tenor.models.scores import Scores

# The network -----------------------------------------------------------------------------------------------------------


class Tagger(nn.Module):
    """Vectors of a word, of its spelling and of what stands beside it; recurrent layers; scores of its tags; a chain over the sentence.

    Args:
        lexicon: how many words, characters and tags there are.
        config: the network's sizes and dropouts.
        dtype: of the recurrent layers' products.
    """

    reads = 1  # the batch is one part, its tags included
    tag_of_mark: Tensor

    def __init__(self, lexicon: Lexicon, config: TagConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.once = config, lexicon.once
        self.embedding = nn.Embedding(len(lexicon.words), config.embedding)
        self.beside = nn.ModuleList(nn.Embedding(len(values), config.beside_embedding) for values in lexicon.beside.values())
        self.spelling = None if config.spelling == "none" else Spelling(len(lexicon.characters), config, dtype)
        width = config.embedding + len(self.beside) * config.beside_embedding + (self.spelling.features if self.spelling else 0)
        self.recurrent = CELLS[config.cell](
            width, config.hidden, config.layers, bidirectional=config.bidirectional, compute=dtype, recurrent_dropout=config.recurrent_dropout
        )
        self.output = nn.Linear(config.hidden * (1 + config.bidirectional), len(lexicon.marks))
        self.chain = Crf(len(lexicon.marks))
        self.register_buffer("tag_of_mark", torch.tensor(lexicon.tag_of_mark), persistent=False)
        for table in (self.embedding, *self.beside):
            nn.init.normal_(table.weight, std=0.1)

    @property
    def path(self) -> str:
        """Which kernel runs its layers, and why; that of the spelling's, where it is another."""
        path = self.recurrent.path
        spelling = self.spelling.path if self.spelling else ""
        return f"{path}; spelling: {spelling}" if spelling not in ("", path) else path

    def freeze(self) -> None:
        if self.training:
            self.eval()

    def forward(self, batch: TagBatch) -> Tensor:
        """-> [N, K] scores of each word's tags, packed as the batch is."""
        config, device = self.config, self.output.weight.device
        words, beside = batch.words.to(device), batch.beside.to(device)
        if self.training:
            unknown = (words >= self.once) & (torch.rand(words.shape, device=device) < config.once_dropout)
            words = words.masked_fill(unknown, UNK)
        read = [embed(self.embedding.weight, words, batch.sizes)]
        if self.spelling:
            read.append(F.embedding(batch.forms.to(device), self.spelling(batch.spelling)))  # a gradient by rows, where an index would sort them
        read += [table(values) for table, values in zip(self.beside, beside, strict=True)]
        x = torch.cat(read, 1)  # [N, I]
        out = self.recurrent(PackedSequence(self._dropped(x, batch.sizes, config.embedding_dropout), batch.sizes))[0].data  # [N, D*H]
        scores: Tensor = self.output(self._dropped(out, batch.sizes, config.dropout))
        return scores

    def _dropped(self, x: Tensor, sizes: Tensor, share: float) -> Tensor:
        """The same features of all words of a sentence (Gal and Ghahramani 2016, arXiv 1512.05287v5)."""
        if not self.training or not share:
            return x
        rows = Places(sizes).rows.to(x.device)
        return x * F.dropout(x.new_ones(int(sizes[0]), x.shape[1]), share)[rows]

    # The loss ----------------------------------------------------------------------------------------------------------

    def scores(self, batch: TagBatch) -> Scores:
        """-> mean nats a word. `rows` are words. What is right is told by the best way through the sentence, in training by each word's own scores, which cost nothing."""
        return self.graded(self(batch), batch)

    def graded(self, scores: Tensor, batch: TagBatch) -> Scores:
        """scores: as forward's."""
        return graded(scores, batch, self.chain, self.tag_of_mark, self.training)


def graded(scores: Tensor, batch: TagBatch, chain: Crf, tag_of_mark: Tensor, training: bool) -> Scores:
    tags = batch.tags.to(scores.device)
    loss = chain(scores, tags, batch.sizes) / len(tags)
    said = scores.detach().argmax(1) if training else chain.best(scores, batch.sizes)
    return Scores(loss, int((tag_of_mark[said] == tag_of_mark[tags]).sum()), len(tags), len(tags))


class Taggers(Ensemble[Tagger]):
    """Several that answer together: with the mean of their words' scores and of their chains', and so with the mean score of each way through a sentence."""

    @property
    def chain(self) -> Crf:
        return Crf.mean([network.chain for network in self.members])

    def graded(self, scores: Tensor, batch: TagBatch) -> Scores:
        """As Tagger.graded."""
        return graded(scores, batch, self.chain, self.members[0].tag_of_mark, self.training)


def tagger(lexicon: Lexicon, config: TagConfig, dtype: torch.dtype = torch.float32) -> Tagger | Taggers:
    """As Tagger, or `config.networks` of them."""
    return Taggers.of([Tagger(lexicon, config, dtype) for _ in range(config.networks)])


class Spelling(nn.Module):
    """Characters of words to a vector a word: the last states of a recurrent layer in both directions (Lample et al. 2016, arXiv 1603.01360v3),
    or the greatest values of filters three wide (Ma and Hovy 2016, arXiv 1603.01354v5)."""

    def __init__(self, characters: int, config: TagConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, config.character_embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        if config.spelling == "recurrent":
            self.recurrent = CELLS[config.cell](config.character_embedding, config.character_hidden, bidirectional=True, compute=dtype)
        else:
            self.filters = nn.Conv1d(config.character_embedding, config.character_hidden, 3, padding=1)
        self.kind = config.spelling
        self.features = config.character_hidden * (2 if config.spelling == "recurrent" else 1)

    @property
    def path(self) -> str:
        """The recurrent layer's kernel; "" with filters."""
        return self.recurrent.path if self.kind == "recurrent" else ""

    def forward(self, characters: PackedSequence) -> Tensor:
        """data [M] ids, packed -> [words, features] in the order of the packing"""
        x = embed(self.embedding.weight, characters.data.to(self.embedding.weight.device), characters.batch_sizes)  # [M, E]
        if self.kind == "recurrent":
            states = self.recurrent(PackedSequence(x, characters.batch_sizes))[1]
            last = states[0] if isinstance(states, tuple) else states  # [2, words, H]
            return torch.cat((last[0], last[1]), 1)
        places = Places(characters.batch_sizes)
        live = places.live.to(x.device)[:, :, None]
        padded = places.pad(x) * live  # [L, words, E]
        found: Tensor = self.filters(padded.permute(1, 2, 0))  # [words, H, L]
        return found.masked_fill(~live.permute(1, 2, 0), float("-inf")).amax(2)


# Decoding and main metric ------------------------------------------------------------------------------------------------


def tagged(model: Tagger | Taggers, data: Encoded, batch_size: int = 64) -> np.ndarray:
    """-> [N] the number of each word's mark (Lexicon.marks), in the order of `data`."""
    model.freeze()
    out, chain = np.empty(len(data.tags), np.int64), model.chain
    with torch.inference_mode():
        for rows in by_length(data.forms.lengths, batch_size):
            batch = batch_of(data, rows)
            out[batch.places] = chain.best(model(batch), batch.sizes).cpu().numpy()
    return out


def measured(right: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> dict[str, Any]:
    """sentences, words, accuracy (of words), sentences_right (a share); and, where the right tags mark spans, spans: what data.spans.span_scores gives."""
    pairs = [(a, b) for one, other in zip(right, said, strict=True) for a, b in zip(one, other, strict=True)]
    same = sum(a == b for a, b in pairs)
    found: dict[str, Any] = {
        "sentences": len(right),
        "words": len(pairs),
        "right": same,
        "accuracy": same / len(pairs),
        "sentences_right": sum(list(a) == list(b) for a, b in zip(right, said, strict=True)) / len(right),
    }
    if marks_spans(a for a, _ in pairs):
        found["spans"] = span_scores(right, said)
    return found
