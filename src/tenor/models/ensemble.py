"""Several networks of one shape that answer together, of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from tenor.models.scores import Scores


class Single(Protocol):
    """What a network can do that answers with others."""

    reads: int  # how many parts of a batch its forward takes: the first ones; the others are what is right

    @property
    def path(self) -> str: ...
    @property
    def graded(self) -> Callable[..., Scores]:
        """What its forward gave, and the batch -> Scores."""

    def scores(self, *batch: Any) -> Scores: ...
    def freeze(self) -> None: ...
    def __call__(self, *read: Any) -> Any: ...


Member = TypeVar("Member", bound=Single)


class Ensemble(nn.Module, Generic[Member]):
    """Networks that answer with the mean of what each says (Hansen and Salamon 1990, IEEE PAMI 12(10)).

    They see the same batches and differ by their first weights and by what is dropped; each learns from its own answer, or they
    would lean on each other (Lakshminarayanan et al. 2017, arXiv 1612.01474v3).
    """

    def __init__(self, networks: Sequence[Member]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)  # type: ignore[arg-type]

    @classmethod
    def of(cls, networks: Sequence[Member]) -> Member | Self:
        """These together, or the only one alone."""
        return networks[0] if len(networks) == 1 else cls(networks)

    @property
    def members(self) -> list[Member]:
        return list(self.networks)  # type: ignore[arg-type]

    @property
    def path(self) -> str:
        return self.members[0].path

    def freeze(self) -> None:
        """As a member's."""
        if self.training:
            self.eval()
        for network in self.members:
            network.freeze()

    def forward(self, *read: Any) -> Tensor:
        """As a member's; -> what `together` makes of what each says."""
        return self.together([network(*read) for network in self.members])

    def together(self, said: list[Tensor]) -> Tensor:
        """The answer, of what each of them said."""
        return torch.stack(said).mean(0)

    def graded(self, said: Tensor, *batch: Any) -> Scores:
        """As a member's, of the answer that is given."""
        return self.members[0].graded(said, *batch)

    def scores(self, *batch: Any) -> Scores:
        """As a member's; while training loss and rows that were right are the means of what the networks have alone."""
        if not self.training:
            return self.graded(self(*batch[: self.members[0].reads]), *batch)
        each: list[Scores] = [network.scores(*batch) for network in self.members]
        return each[0]._replace(loss=torch.stack([s.loss for s in each]).mean(), right=round(sum(s.right for s in each) / len(each)))
