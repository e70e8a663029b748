"""The training loop, read top to bottom. Stopping it anywhere and going on gives the same weights, bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tenor.config import TrainConfig
from tenor.errors import TenorError
from tenor.training.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from tenor.training.events import Events, State
from tenor.training.optimiser import RowAdamW, clip, make_optimiser

CHECKPOINT, HISTORY = "checkpoint.safetensors", "history.jsonl"  # in the folder of a run
SECONDS_BETWEEN_CHECKPOINTS = 30.0  # what a kill costs at most; writing one takes about 0.1 s
Goodness = Callable[[dict[str, Any]], tuple[float, ...]]  # of an epoch's entry in the history; the greater, the better


class Examples(Protocol):
    """What the loop trains on. A batch is whatever the model's `scores` takes."""

    def plan(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches, not yet made; the same epoch gives the same plan."""

    def batch(self, planned: Any) -> tuple[Any, ...]:
        """Make one: the arguments of `model.scores`."""

    def validation(self) -> Iterable[tuple[Any, ...]]:
        """Batches of the validation rows; may be empty."""


@dataclass(frozen=True)
class Outcome:
    """The weights to keep, and how they came to be."""

    weights: dict[str, Tensor]
    history: list[dict[str, Any]]
    best_epoch: int  # 0: stopped before the end of the first epoch
    seconds: float
    finished: bool


def rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of a step: constant, or up and down once (Smith 2018, arXiv 1803.09820v2), both halves a cosine.

    From a 25th of the peak, up in a quarter of the steps, down to next to nothing. The shape is
    torch.optim.lr_scheduler.OneCycleLR's; a plain function of the step has no state to save.
    """
    if config.schedule == "constant":
        return config.learning_rate
    warm = max(1, steps // 4)
    low, high = (config.learning_rate / 25, config.learning_rate) if step < warm else (config.learning_rate / 1e5, config.learning_rate)
    done = step / warm if step < warm else 1 - (step - warm) / max(1, steps - warm - 1)
    return low + (high - low) * (1 - math.cos(math.pi * done)) / 2


def by_accuracy(entry: dict[str, Any]) -> tuple[float, ...]:
    """Higher validation accuracy; of equal ones the lower loss."""
    return entry["validation_accuracy"], -entry["validation_loss"]


def by_loss(entry: dict[str, Any]) -> tuple[float, ...]:
    """Lower validation loss: for models whose answer is a distribution, and where which of few rows are right is chance."""
    return (-entry["validation_loss"],)


def by_time(entry: dict[str, Any]) -> tuple[float, ...]:
    """The last epoch, of the lowest rate: where validation rows are too few to say another is better."""
    return (entry["epoch"],)


def train(
    model: nn.Module, examples: Examples, config: TrainConfig, events: Events, work: Path | None, settings: dict[str, Any], goodness: Goodness = by_accuracy
) -> Outcome:
    """Train to the last epoch and keep the best by validation.

    Args:
        model: has `scores(*batch)` -> loss, right, rows, tokens; what it carries from batch to batch, if anything, is among its buffers; and `freeze()`, which is eval() for weights that stay until train().
        examples: see Examples.
        config: epochs, rates, seed.
        events: is told of each step and epoch.
        work: folder for checkpoint and history; a checkpoint found there is gone on with. None: keep nothing.
        settings: all that decides the result, to be compared when a run goes on.
        goodness: what makes an epoch the one to keep.

    Raises:
        TenorError: the loss is no longer a number.
    """
    optimiser = make_optimiser(model, config)
    state = State()
    best: dict[str, Tensor] = {}
    checkpoint = work / CHECKPOINT if work else None
    if checkpoint and checkpoint.exists():
        state, best = load_checkpoint(checkpoint, settings, model, optimiser)
    batches = len(examples.plan(0))
    steps = config.epochs * batches
    events.begin(config.epochs, batches, state)
    began, saved = time.monotonic() - state.seconds, time.monotonic()
    stopped = False
    while state.epoch < config.epochs and not stopped:
        epoch_began = time.monotonic() - state.epoch_seconds
        plan = examples.plan(state.epoch)
        while state.batch < len(plan) and not stopped:
            _step(model, optimiser, examples.batch(plan[state.batch]), state, steps, config)
            state.seconds, state.epoch_seconds = time.monotonic() - began, time.monotonic() - epoch_began
            events.step(state)
            stopped = events.stop()
            if checkpoint and (stopped or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS):
                save_checkpoint(checkpoint, state, settings, model, optimiser, best)
                saved = time.monotonic()
        if state.batch < len(plan):
            break
        entry = _end_epoch(model, examples, state, config)
        if is_better(entry, state.history, state.best_epoch, goodness):
            state.best_epoch = state.epoch
            best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        state.history.append(entry)
        if work and checkpoint:
            write_atomically(work / HISTORY, "".join(json.dumps(e) + "\n" for e in state.history).encode())
            save_checkpoint(checkpoint, state, settings, model, optimiser, best)
            saved = time.monotonic()
        events.epoch(entry)
        stopped = stopped or events.stop()
    events.end()
    weights = best or {k: v.detach().clone() for k, v in model.state_dict().items()}
    return Outcome(weights, state.history, state.best_epoch, state.seconds, state.epoch == config.epochs)


def seed_torch(seed: int) -> None:
    """torch.manual_seed, which also imports torch's compiler (1.2 s), and without a GPU keeps a stack trace at every call (3 % of a step)."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def _step(model: nn.Module, optimiser: RowAdamW, batch: tuple[Any, ...], state: State, steps: int, config: TrainConfig) -> None:
    model.train()
    # Dropout's draws follow from seed and step alone, so a run that goes on draws what it would have drawn.
    seed_torch(int(np.random.SeedSequence([config.seed, state.step]).generate_state(1, np.uint64)[0] >> 1))
    for group in optimiser.param_groups:
        group["lr"] = group["share"] * rate_at(state.step, steps, config)
    scores = model.scores(*batch)  # type: ignore[operator]
    loss = float(scores.loss.detach())
    if not math.isfinite(loss):
        raise TenorError(_advice(f"the loss became {loss} at step {state.step + 1} (epoch {state.epoch + 1})", config))
    optimiser.zero_grad()
    scores.loss.backward()
    clip(model, config.clip)
    optimiser.step()
    state.step, state.batch = state.step + 1, state.batch + 1
    state.loss, state.right = state.loss + loss * scores.rows, state.right + scores.right
    state.rows, state.tokens = state.rows + scores.rows, state.tokens + scores.tokens


def _end_epoch(model: nn.Module, examples: Examples, state: State, config: TrainConfig) -> dict[str, Any]:
    """The epoch's entry for the history; the state is then at the start of the next."""
    entry: dict[str, Any] = {
        "epoch": state.epoch + 1,
        "loss": state.loss / state.rows,
        "accuracy": state.right / state.rows,
    }
    loss, right, rows = 0.0, 0, 0
    model.freeze()  # type: ignore[operator]
    with torch.inference_mode():
        for batch in examples.validation():
            scores = model.scores(*batch)  # type: ignore[operator]
            loss, right, rows = loss + float(scores.loss) * scores.rows, right + scores.right, rows + scores.rows
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise TenorError(_advice(f"a weight became infinite in epoch {state.epoch + 1}", config))
    if rows:
        if not math.isfinite(loss):
            raise TenorError(_advice(f"the validation loss became {loss} after epoch {state.epoch + 1}", config))
        entry |= {"validation_loss": loss / rows, "validation_accuracy": right / rows}
    entry |= {
        "learning_rate": rate_at(max(0, state.step - 1), config.epochs * state.batch, config),
        "seconds": round(state.epoch_seconds, 2),
        "tokens_per_second": round(state.tokens / max(state.epoch_seconds, 1e-9)),
    }
    state.epoch, state.batch = state.epoch + 1, 0
    state.loss, state.right, state.rows, state.tokens, state.epoch_seconds = 0.0, 0, 0, 0, 0.0
    return entry


def is_better(entry: dict[str, Any], history: Sequence[dict[str, Any]], best_epoch: int, goodness: Goodness = by_accuracy) -> bool:
    """Than the best so far; without validation rows the later epoch."""
    if best_epoch == 0 or "validation_accuracy" not in entry:
        return True
    return goodness(entry) > goodness(history[best_epoch - 1])


def _advice(what: str, config: TrainConfig) -> str:
    return (
        f"Training must keep a finite loss; {what}. Try --learning-rate {config.learning_rate / 3:.1g} (now {config.learning_rate:g})"
        f"{', --precision float32' if config.precision != 'float32' else ''}, or look for odd texts in the data."
    )
