"""Pieces and network together: a prompt in, text out. What a model folder of the task generate rebuilds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from tenor.cells.hardware import choose_device, choose_dtype, precision_of_stored
from tenor.cells.reader import has_8_bits
from tenor.config import Device, ModelConfig, ReadingPrecision, TextConfig, build, check
from tenor.data.pieces import BREAK, Pieces
from tenor.data.streams import once
from tenor.data.text import PAD, UNK
from tenor.errors import TenorError
from tenor.models.generate import Sampling, TextGenerator, continued, nats
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task

CARRIED = "carried"  # of the network's state dict: what training carries along, and no weight
STREAMS = 64  # side by side where a text is measured


class Generation:
    """A generator ready for prompts.

    Args:
        pieces: how a text becomes ids, and ids a text.
        text, model: settings.
        start: what an empty prompt stands for: "break" (the beginning of a text), or "line" (the end of the line before).
        device, precision: where and how it computes; int8 writes fastest.
        streams: rows that training carries along.
    """

    def __init__(
        self, pieces: Pieces, text: TextConfig, model: ModelConfig, start: str, device: Device = "auto", precision: ReadingPrecision = "auto", streams: int = 0
    ) -> None:
        self.pieces, self.text, self.model, self.start = pieces, text, model, start
        where = choose_device(device)
        self.network = TextGenerator(len(pieces), model, choose_dtype(precision, where, model), streams).to(where)

    @property
    def path(self) -> str:
        return self.network.path

    def prompt(self, prompt: str) -> np.ndarray:
        """[N] ids, at least 1.

        Raises:
            TenorError: a character that never occurred in training, or an empty prompt where the model knows no beginning.
        """
        unknown = self.pieces.unknown(prompt)
        if unknown:
            listed = ", ".join(map(repr, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
            raise TenorError(f"A prompt is of characters that occurred in training; {listed} never did. Leave them out.")
        if prompt:
            return self.pieces.encode(prompt)
        if self.start == "line" and self.pieces.unknown("\n"):
            raise TenorError("This model learnt from one text without lines, so it knows no beginning. Give a prompt of at least one character.")
        return np.array([BREAK], np.int32) if self.start == "break" else self.pieces.encode("\n")

    def stream(self, prompt: str = "", length: int = 500, sampling: Sampling = Sampling(), stop: str = "") -> Iterator[str]:  # noqa: B008 - frozen
        """The text after a prompt as it comes, at most `length` tokens; it ends before `stop`, or, if the model learnt from several texts, where one ends. Raises TenorError as `prompt`."""
        return self._streamed(self.prompt(prompt), length, sampling, stop)

    def _streamed(self, prompt: np.ndarray, length: int, sampling: Sampling, stop: str) -> Iterator[str]:
        writer, held = self.pieces.writer(), ""
        for number, tokens in enumerate(self._continued(prompt, sampling)):
            ended = int(tokens[0]) == BREAK or number == length
            held += writer.end() if ended else writer.write(int(tokens[0]))
            if stop and stop in held:
                yield held[: held.index(stop)]
                return
            # What may be the beginning of the stop text waits.
            wait = 0 if ended else next((n for n in range(min(len(stop) - 1, len(held)), 0, -1) if held.endswith(stop[:n])), 0)
            if len(held) > wait:
                yield held[: len(held) - wait]
                held = held[len(held) - wait :]
            if ended:
                return

    def several(self, prompt: str, count: int, length: int = 500, sampling: Sampling = Sampling(), stop: str = "") -> list[str]:  # noqa: B008
        """So many continuations, made side by side: in much less time than one after another."""
        writers, texts, open_ = [self.pieces.writer() for _ in range(count)], [""] * count, set(range(count))
        for number, tokens in enumerate(self._continued(self.prompt(prompt), sampling, count)):
            for row in sorted(open_):
                ended = int(tokens[row]) == BREAK or number == length
                new = writers[row].end() if ended else writers[row].write(int(tokens[row]))
                texts[row] += new
                place = texts[row].find(stop, max(0, len(texts[row]) - len(new) - len(stop))) if stop else -1
                if place >= 0:
                    texts[row] = texts[row][:place]
                if ended or place >= 0:
                    open_.discard(row)
            if not open_:
                break
        return texts

    def _continued(self, prompt: np.ndarray, sampling: Sampling, rows: int = 1) -> Iterator[np.ndarray]:
        """Who learnt from one text never saw one end, and ends none: what such a model holds of an end is what chance left."""
        return continued(self.network, prompt, sampling, rows, [PAD, UNK] if self.start == "break" else [PAD, UNK, BREAK])

    def measure(self, texts: Sequence[str]) -> dict[str, Any]:
        """How well it foretells texts: perplexity and accuracy (of tokens), nats and bits a character.

        Returns:
            texts, characters, tokens (those that were foretold: all but the first, and but unknown ones), unknown (tokens), and the numbers.

        Raises:
            TenorError: fewer than two tokens.
        """
        ids = self.pieces.joined(texts)
        total, rows, right = nats(self.network, once(ids, STREAMS, self.text.max_tokens))
        if not rows:
            raise TenorError(f"A text of at least two known characters is needed to measure how well one is foretold; these have {sum(map(len, texts)):,} characters in all.")
        characters = sum(map(len, texts)) + max(0, len(texts) - 1)  # the end of a text is foretold too
        each = total / rows * len(ids) / characters  # of characters as tokens, total / rows
        numbers = {"nats_per_character": each, "bits_per_character": each / math.log(2), "perplexity": math.exp(min(700.0, total / rows)), "accuracy": right / rows}
        return {"texts": len(texts), "characters": characters, "tokens": rows, "unknown": len(ids) - 1 - rows} | numbers

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "generate", "start": self.start, "text": asdict(self.text), "model": asdict(self.model)} | more
        weights = {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items() if k != CARRIED}
        return Stored(config, self.pieces.to_json(), weights, metrics, history)

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Weights by their names in the network's state dict; what it carries stays."""
        self.network.load_state_dict(weights | {CARRIED: self.network.carried})
        self.network.eval()

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Generation:
        """Raises TenorError if the folder is of another task, or pieces, settings and weights do not fit each other."""
        config = stored.config
        check_task(config, "generate")
        text, model = build(TextConfig, config.get("text", {})), build(ModelConfig, config.get("model", {}))
        check(text, model)
        if config.get("start") not in ("break", "line"):
            raise TenorError(f"config.json says what an empty prompt stands for, break or line; it says {config.get('start')!r}. Copy the model folder again.")
        pieces = Pieces.from_json(stored.tokenizer)
        fitted = fitting(lambda: TextGenerator(len(pieces), model), stored.weights, [CARRIED])
        precision = precision_of_stored(precision, config.get("weights", "float32"), device, stored.weights, lambda: has_8_bits(model.cell))
        made = cls(pieces, text, model, config["start"], device, precision)
        made.take(fitted)
        return made
