"""Many-to-one by several networks together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tenor.config import ModelConfig
from tenor.data.batches import Batch
from tenor.models.classify import Scores, TextClassifier, graded


class Ensemble(nn.Module):
    """Classifiers of one shape that answer with the mean of their logits (Hansen and Salamon 1990, IEEE PAMI 12(10)).

    They see the same batches and differ by their first weights and by what is dropped; each learns from its own answer, or they
    would lean on each other (Lakshminarayanan et al. 2017, arXiv 1612.01474v3).

    Args:
        vocab, labels, config, dtype: as TextClassifier; `config.networks` of them, at least 2.
    """

    def __init__(self, vocab: int, labels: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.networks = nn.ModuleList(TextClassifier(vocab, labels, config, dtype) for _ in range(config.networks))

    @property
    def members(self) -> list[TextClassifier]:
        return list(self.networks)  # type: ignore[arg-type]

    @property
    def logits(self) -> int:
        return self.members[0].logits

    @property
    def path(self) -> str:
        return self.members[0].path

    def freeze(self) -> None:
        """As TextClassifier.freeze."""
        if self.training:
            self.eval()
        for network in self.members:
            network.freeze()

    def forward(self, batch: Batch) -> Tensor:
        """-> logits [B, 1] or [B, labels], at the batch's places."""
        return torch.stack([network(batch) for network in self.members]).mean(0)

    def scores(self, batch: Batch, targets: Tensor) -> Scores:
        """As TextClassifier.scores; while training the loss is the mean of the losses that the networks have alone."""
        if not self.training:
            return graded(self(batch), batch, targets)
        each = [network(batch) for network in self.members]
        together = graded(torch.stack(each).mean(0).detach(), batch, targets)
        return together._replace(loss=torch.stack([graded(logits, batch, targets).loss for logits in each]).mean())


def classifier(vocab: int, labels: int, config: ModelConfig, dtype: torch.dtype = torch.float32) -> TextClassifier | Ensemble:
    """The network of these settings; its `members` are the single ones."""
    return (TextClassifier if config.networks == 1 else Ensemble)(vocab, labels, config, dtype)
