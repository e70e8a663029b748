"""What a training run knows of itself, and what it tells to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """All that a run knows besides weights; random numbers need no state, they follow from seed and step."""

    step: int = 0  # optimiser steps done
    epoch: int = 0  # epochs done
    batch: int = 0  # batches done in the current epoch
    loss: float = 0.0  # sums over the current epoch's rows
    right: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0  # spent training so far, over all sittings
    epoch_seconds: float = 0.0
    best_epoch: int = 0  # 0: none yet
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry an epoch


class Events:
    """What the loop tells as it goes; all do nothing here. `stop` asks it to end after the current step."""

    def training(self, what: str) -> None:
        """Of a job with several trainings: which one begins, those without epochs (of linear models, which label texts) too."""

    def begin(self, epochs: int, batches: int, state: State) -> None: ...

    def step(self, state: State) -> None: ...

    def epoch(self, entry: dict[str, Any]) -> None: ...

    def end(self) -> None: ...

    def stop(self) -> bool:
        return False
