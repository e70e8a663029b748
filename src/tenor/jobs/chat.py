"""What the commands do with models that chat."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.markup import escape

from tenor.config import Device, ReadingPrecision
from tenor.data.aligned import divided
from tenor.data.datasets import Progress, resolve
from tenor.data.turns import read_turns
from tenor.errors import plural
from tenor.jobs.answers import AskedTexts
from tenor.jobs.kinds import Parts, TaskOrder
from tenor.jobs.translate import described, of_part, results
from tenor.pipelines.conversation import Conversation
from tenor.results.report import conversation_card, conversed, left_out
from tenor.store import Stored
from tenor.training.events import Events
from tenor.training.loop import Outcome, by_loss
from tenor.training.presets import Preset
from tenor.training.presets_chat import chat_preset
from tenor.training.translate import learn


class Chatting:
    shown: Literal["accuracy", "loss"] = "loss"
    options: frozenset[str] = frozenset({"label", "vocab", "max_tokens", "embedding", "label_smoothing", "attention", "feeding", "separate"})

    def preset(self, **changes: Any) -> Preset:
        return chat_preset(**changes)

    def read(self, order: TaskOrder, progress: Progress | None) -> Parts:
        """As of a translator; of a plain file the last tenth chooses the epoch."""
        source = read_turns(resolve(order.source, progress), order.text, order.label, order.skip_bad)
        train, aside, notes = divided(source.pairs, order.preset.split.validation, order.preset.train.seed)
        return Parts(train, aside, [], [*source.notes, *notes], {"train": len(train), "validation": len(aside)})

    def fit(self, parts: Parts, preset: Preset, events: Events, work: Path | None) -> tuple[Conversation, Outcome]:
        made, outcome = learn(Conversation, parts.train, parts.validation, preset, events, work, by_loss)
        made.count(parts.train)
        return made, outcome

    def results(self, made: Conversation, parts: Parts) -> dict[str, Any]:
        return results(made, parts)

    def measured(self, found: Mapping[str, Any]) -> str:
        return ". ".join([conversed(dict(found)), *left_out(found)])

    def described(self, made: Conversation) -> list[str]:
        return described(made)

    def card(self, title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
        return conversation_card(title, config, metrics, history)

    def rebuilt(self, stored: Stored, device: Device, precision: ReadingPrecision) -> Conversation:
        return Conversation.rebuilt(stored, device, precision)

    def evaluate(self, source: str, made: Conversation, part: str | None, text: str | None, label: str | None, skip_bad: bool, progress: Progress | None) -> dict[str, Any]:
        """The numbers of Conversation.measure on all pairs of a source (of a part: only these), with seconds and notes; columns as in training, unless named."""
        names = made.columns or (None, None)
        found = read_turns(resolve(source, progress), text or names[0], label or names[1], skip_bad)
        pairs = of_part(found, part)
        began = time.perf_counter()
        result = made.measure(pairs)
        return result | {"seconds": round(time.perf_counter() - began, 3), "notes": found.notes}

    def answerer(self, made: Conversation) -> Replies:
        return Replies(made)


KIND = Chatting()


class Replies(AskedTexts):
    """Of a model that chats, for `tenor predict`: a reply to each text, the same every time. `tenor chat` has the choices."""

    def __init__(self, made: Conversation) -> None:
        self.made, self.empty = made, 0
        self.columns = {"reply": pa.string()}

    def answers(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        self.empty += sum(not t.strip() for t in texts)
        return [{"reply": reply} for reply in self.made.replies(texts)]

    def line(self, text: str, answer: Mapping[str, Any]) -> str:  # noqa: ARG002
        return f"[bold]{escape(answer['reply'])}[/bold]"

    def piped(self, text: str, answer: Mapping[str, Any]) -> str:
        return f"{answer['reply']}\t{text}"

    def totals(self) -> dict[str, Any]:
        return {"empty": self.empty}

    def summary(self) -> list[str]:
        return self.warnings()

    def warnings(self) -> list[str]:
        return [f"{plural(self.empty, 'text')} empty, and so the reply."] if self.empty else []
