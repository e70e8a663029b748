"""Many-to-one: a text to a label."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from tenor.config import ModelConfig
from tenor.data.batches import Batch, by_length, pack
from tenor.data.text import Ragged
from tenor.models.adversary import ENTROPY, against, divergence, entropy
from tenor.models.encoder import Encoder
from tenor.models.ensemble import Ensemble
from tenor.models.scores import Scores


class Network(Protocol):
    """What reads: one network or several together."""

    @property
    def logits(self) -> int: ...
    def freeze(self) -> None: ...
    def __call__(self, batch: Batch) -> Tensor: ...


class TextClassifier(nn.Module):
    """Encoder, dropout, dense output: one logit and a sigmoid for two labels, a softmax for more.

    Args:
        vocab: number of token ids.
        labels: number of labels, at least 2.
        config: the network's sizes.
        dtype: of the recurrent layers' products.
    """

    reads = 1  # the batch, and not its targets

    def __init__(self, vocab: int, labels: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.encoder = Encoder(vocab, config, dtype)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.encoder.features, 1 if labels == 2 else labels)
        if config.init == "keras":
            nn.init.xavier_uniform_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    @property
    def members(self) -> list[TextClassifier]:
        """Itself: one network alone (see Classifiers)."""
        return [self]

    @property
    def logits(self) -> int:
        """Columns of what it gives."""
        return self.output.out_features

    @property
    def path(self) -> str:
        return self.encoder.path

    def freeze(self) -> None:
        """eval(), and read as fast as can be while the weights stay as they are (see Encoder.freeze)."""
        if self.training:
            self.eval()
        self.encoder.freeze()

    def forward(self, batch: Batch) -> Tensor:
        """-> logits [B, 1] or [B, labels], at the batch's places."""
        logits: Tensor = self.output(self.dropout(self.encoder(self._placed(batch))))
        return logits

    def scores(self, batch: Batch, targets: Tensor, adversary: float = 0.0) -> Scores:
        """How well it answers.

        Args:
            targets: [all rows] int64 label indexes or [all rows, labels] float32 shares, of which the batch's rows are taken; nan in all columns of a row without a label.
            adversary: how far the vectors of each text are moved against it (models/adversary.py); the loss is then of both, and not to be compared with one without. 0: they are not, and rows without a label teach nothing.
        """
        return self._opposed(batch, targets, adversary) if adversary else self.graded(self(batch), batch, targets)

    def graded(self, logits: Tensor, batch: Batch, targets: Tensor) -> Scores:
        """logits: as forward's. targets: as of scores; rows without a label count nowhere but in the tokens."""
        taken = targets[torch.from_numpy(batch.rows)].to(logits.device)
        labelled = ~_unlabelled(taken)
        logits, taken = logits[labelled], taken[labelled]
        wanted = taken.argmax(1) if taken.dim() == 2 else taken  # [B]
        if logits.shape[1] == 1:
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], taken[:, 1] if taken.dim() == 2 else taken.float(), reduction="sum")
            guessed = (logits[:, 0] > 0).long()
        else:
            loss = F.cross_entropy(logits, taken, reduction="sum")
            guessed = logits.argmax(1)
        return Scores(loss / max(1, len(wanted)), int((guessed == wanted).sum()), len(wanted), len(batch.tokens.data))

    def _opposed(self, batch: Batch, targets: Tensor, length: float) -> Scores:
        """The loss of the texts as they are, and of the same texts moved against their answers, with other features dropped.

        The first pass is differentiated here, for its slope at the vectors tells where to move them; its gradients join the loss as the
        slopes of a plane, or the way back through it would be gone twice.
        """
        tokens = self._placed(batch)
        sizes, encoder = tokens.batch_sizes, self.encoder
        x = encoder.vectors(tokens)
        at = x.detach().requires_grad_()
        weights = [*encoder.recurrent.parameters(), *self.output.parameters()]
        logits = self._answer(at, sizes)
        found = self.graded(logits, batch, targets)
        unlabelled = _unlabelled(targets[torch.from_numpy(batch.rows)]).to(logits.device)
        first = found.loss + ENTROPY * entropy(logits[unlabelled]).sum() / max(1, int(unlabelled.sum()))
        slope, *slopes = torch.autograd.grad(first, [at, *weights])
        plane = torch.stack([(w * s).sum() for w, s in zip((x, *weights), (slope, *slopes), strict=True)]).sum()
        y = encoder.vectors(tokens)
        moved = self._answer(y + against(slope, y, sizes, length), sizes)
        second = self.graded(moved, batch, targets).loss + divergence(logits, moved).mean()
        return found._replace(loss=first.detach() + (plane - plane.detach()) + second)

    def _placed(self, batch: Batch) -> PackedSequence:
        return batch.tokens._replace(data=batch.tokens.data.to(self.output.weight.device))  # batch_sizes stay on the CPU

    def _answer(self, x: Tensor, batch_sizes: Tensor) -> Tensor:
        logits: Tensor = self.output(self.dropout(self.encoder.pooled(x, batch_sizes)))
        return logits


def _unlabelled(targets: Tensor) -> Tensor:
    """[rows] or [rows, labels] as of TextClassifier.scores -> [rows] bool"""
    return targets.reshape(len(targets), -1)[:, 0].isnan()


class Classifiers(Ensemble[TextClassifier]):
    """Several that answer together."""

    @property
    def logits(self) -> int:
        return self.members[0].logits


def classifier(vocab: int, labels: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> TextClassifier | Classifiers:
    """As TextClassifier, or `config.networks` of them; its `members` are the single ones."""
    return Classifiers.of([TextClassifier(vocab, labels, config, dtype) for _ in range(config.networks)])


def read_logits(model: Network, ids: Ragged, batch_size: int = 128, pad_to: int = 0) -> np.ndarray:
    """[rows, 1] (of two labels) or [rows, labels] float64, in the order of `ids`."""
    model.freeze()
    out = np.empty((len(ids), model.logits))
    with torch.inference_mode():
        for rows in by_length(ids.lengths, batch_size):
            batch = pack(ids, rows, pad_to)
            out[batch.rows] = model(batch).double().cpu().numpy()
    return out


def shares(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logits as of `read_logits` -> [rows, labels] probabilities. A temperature above 1 makes them less sure, and the order stays (Guo et al. 2017, arXiv 1706.04599v2)."""
    scores = torch.from_numpy(logits) / temperature
    if scores.shape[1] == 1:
        positive = torch.sigmoid(scores)
        return torch.cat((1 - positive, positive), 1).numpy()
    return torch.softmax(scores, 1).numpy()


def probabilities(model: Network, ids: Ragged, batch_size: int = 128, pad_to: int = 0, temperature: float = 1.0) -> np.ndarray:
    """[rows, labels] float64, in the order of `ids`."""
    return shares(read_logits(model, ids, batch_size, pad_to), temperature)
