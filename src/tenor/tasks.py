"""What the models of each task do, and which command is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenor.errors import TenorError

DOES = {
    "classify": "labels texts",
    "generate": "generates text",
    "transcribe": "writes down what is said",
    "tag": "tags words",
    "translate": "translates",
    "chat": "chats",
    "pretrain": "knows a language and no labels yet",
}
COMMANDS = {
    "classify": 'tenor predict "a text" -m {}',
    "generate": 'tenor generate "a prompt" -m {}',
    "transcribe": "tenor transcribe FILE.wav -m {}",
    "tag": 'tenor predict "words to tag" -m {}',
    "translate": 'tenor translate "a text" -m {}',
    "chat": "tenor chat -m {}",
    "pretrain": "tenor train SOURCE --from {}",
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
        raise TenorError(f"This model {DOES[found]}. Use {COMMANDS[found].format('MODEL')}.")
