"""What the models of each task do, and which command is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenor.errors import TenorError

DOES = {
    "classify": 'This model labels texts. Use tenor predict "a text" -m MODEL.',
    "generate": 'This model generates text. Use tenor generate "a prompt" -m MODEL.',
    "translate": 'This model translates. Use tenor translate "a text" -m MODEL.',
    "pretrain": "This model knows a language and no labels yet. Train a classifier from it: tenor train SOURCE --from MODEL",
}


def task_of(config: Mapping[str, Any]) -> str:
    """Raises TenorError if a model folder's settings name no task of this Tenor."""
    found = config.get("task")
    if found not in DOES:
        raise TenorError(f"config.json must name a task, one of {', '.join(DOES)}; it names {found!r}. Copy the model folder again, or update Tenor.")
    return str(found)


def check_task(config: Mapping[str, Any], wanted: str) -> None:
    """Raises TenorError if the model is of another task, and says which command is its own."""
    found = task_of(config)
    if found != wanted:
        raise TenorError(DOES[found])
