"""What a task says for itself to the commands; all else is the same for every task but classification, which came first and has jobs of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from tenor.config import Device, ReadingPrecision
from tenor.data.datasets import Progress
from tenor.errors import TenorError
from tenor.jobs.answers import Answerer
from tenor.results.report import card, pretrained_card
from tenor.store import Stored
from tenor.tasks import COMMANDS, check_task
from tenor.training.events import Events
from tenor.training.loop import Outcome
from tenor.training.presets import Preset


@dataclass(frozen=True)
class TaskOrder:
    """What the user asked for."""

    task: str
    source: str
    out: Path
    preset: Preset
    text: str | None = None
    label: str | None = None
    skip_bad: bool = False
    resume: bool = False
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True)
class Parts:
    """Rows to learn from, to choose the epoch by, and to test on; what they are is the task's. notes: sentences for the user; counts: numbers for the metrics."""

    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any]
    notes: list[str]
    counts: dict[str, Any] = field(default_factory=dict)


class Made(Protocol):
    """A model ready for use: what a training ends with, and what a model folder rebuilds."""

    @property
    def path(self) -> str:
        """The kernel that runs it."""

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        """What goes into a model folder."""


class Kind(Protocol):
    """A task. `shown` is the number of the validation rows that a training shows after an epoch; `options` are those of `tenor train` that only this task and some others have."""

    shown: Literal["accuracy", "loss"]
    options: frozenset[str]

    def preset(self, **changes: Any) -> Preset:
        """The task's settings with some changed; None leaves one as it is."""

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """Raises TenorError: anything wrong with the files."""

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Any, Outcome]:
        """Train; returns a Made and how it came to be."""

    def results(self, made: Any, parts: Parts) -> dict[str, Any]:
        """For the metrics: "validation", "test", each what `measured` can say in words."""

    def measured(self, found: Mapping[str, Any]) -> str:
        """One sentence on the numbers of one set of rows."""

    def described(self, made: Any) -> list[str]:
        """What the model is, in sentences: its network first, then what it reads."""

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        """The model card, Markdown."""

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Any:
        """A Made from a model folder. Raises TenorError if its parts do not fit each other."""

    def evaluate(self, source: str, made: Any, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:
        """The numbers of all rows of a source (of a part: only these), with seconds and notes."""

    def answerer(self, made: Any) -> Answerer:
        """For `tenor predict`."""


# Where the Kind of each task is: loaded when it is asked for, since a task may need what others do not.
_HOMES = {task: f"tenor.jobs.{task}" for task in ("generate", "tag", "transcribe", "translate", "chat")}
TASKS = ("classify", *_HOMES)


def kind_of(task: str) -> Kind:
    """Raises TenorError: a task that has its own jobs or none."""
    if task not in _HOMES:
        raise TenorError(f"A task is one of {', '.join(TASKS)}; got {task!r}.")
    kind: Kind = import_module(_HOMES[task]).KIND
    return kind


def made_of(stored: Stored, task: str, device: Device = "auto", precision: ReadingPrecision = "auto") -> Any:
    """The model of a folder, for a command of one task. Raises TenorError: it is of another task, and the error says which command is its own."""
    check_task(stored.config, task)
    return kind_of(task).rebuilt(stored, device, precision)


def card_of(task: str) -> Callable[[str, dict[str, Any], dict[str, Any], Sequence[dict[str, Any]]], bytes]:
    """What writes the model card of a task."""
    return card if task == "classify" else pretrained_card if task == "pretrain" else kind_of(task).card


def use_of(task: str, folder: object) -> str:
    """The command to use a model with."""
    return COMMANDS[task].format(folder)


def several(networks: int) -> str:
    """Before the description of one of them."""
    return f"{networks} networks together, each of " if networks > 1 else ""
