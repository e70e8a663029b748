"""Tokenizer and network together: texts in, probabilities out. What a model folder rebuilds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tenor.cells.hardware import choose_device, choose_dtype
from tenor.config import Device, ModelConfig, ReadingPrecision, TextConfig, build, check
from tenor.data.pairs import PAIRS, Pairs
from tenor.data.text import Ragged, Tokenizer, cut
from tenor.errors import TenorError
from tenor.models.classify import read_logits, shares
from tenor.models.ensemble import classifier
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task


class Pipeline:
    """A classifier ready for texts.

    Args:
        labels: names in the order of the probabilities; with two, the second is the positive one.
        tokenizer, text, pairs: how a text becomes ids.
        model: the network's sizes.
        temperature: logits are divided by it before they become probabilities (results/calibrate.py).
        device, precision: where and how it computes; int8 is for reading alone.
    """

    def __init__(
        self,
        labels: Sequence[Any],
        tokenizer: Tokenizer,
        text: TextConfig,
        model: ModelConfig,
        device: Device = "auto",
        precision: ReadingPrecision = "auto",
        pairs: Pairs | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.labels, self.tokenizer, self.text, self.model, self.pairs = list(labels), tokenizer, text, model, pairs
        self.temperature = temperature
        where = choose_device(device)
        self.network = classifier(len(tokenizer) + (len(pairs.keys) if pairs else 0), len(self.labels), model, choose_dtype(precision, where, model)).to(where)

    @property
    def pad_to(self) -> int:
        return self.text.max_tokens if self.text.pad_to_max else 0

    def read(self, ids: Ragged) -> Ragged:
        """Ids of the tokenizer -> those that the network reads."""
        return cut(self.pairs.read(ids) if self.pairs else ids, self.text.max_tokens, self.text.keep)

    def probabilities(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cleaned texts -> [rows, labels] probabilities and [rows] tokens of each text before cutting."""
        logits, lengths = self.logits(texts)
        return shares(logits, self.temperature), lengths

    def logits(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cleaned texts -> [rows, 1] (two labels) or [rows, labels] scores without the temperature, and [rows] tokens of each text before cutting."""
        ids = self.tokenizer.encode(texts)
        return read_logits(self.network, self.read(ids), pad_to=self.pad_to), ids.lengths

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "classify", "labels": self.labels, "text": asdict(self.text), "model": asdict(self.model), "temperature": self.temperature} | more
        weights = {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}
        if self.pairs:
            weights[PAIRS] = self.pairs.keys
        return Stored(config, self.tokenizer.to_json(), weights, metrics, history)

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Pipeline:
        """Raises TenorError if tokenizer, settings and weights do not fit each other."""
        config = stored.config
        check_task(config, "classify")
        if not isinstance(config.get("labels"), list) or len(config["labels"]) < 2:
            raise TenorError("config.json must name two labels or more. Copy the model folder again, or train anew.")
        text, model = build(TextConfig, config.get("text", {})), build(ModelConfig, config.get("model", {}))
        check(text, model)
        temperature = config.get("temperature", 1.0)  # folders of format 1 have none
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 < temperature < float("inf"):
            raise TenorError(f"The temperature in config.json must be a number above 0; got {temperature!r}. Copy the model folder again, or train anew.")
        tokenizer = Tokenizer.from_json(stored.tokenizer)
        weights = dict(stored.weights)
        keys = weights.pop(PAIRS, None)
        if (keys is not None) != (text.pairs > 0):
            raise TenorError(f"{PAIRS} are among the weights of a model that reads pairs of words, and of no other. Copy the model folder again.")
        pairs = None if keys is None else Pairs(keys, len(tokenizer))
        fitted = fitting(lambda: classifier(len(tokenizer) + (len(pairs.keys) if pairs else 0), len(config["labels"]), model), weights)
        pipeline = cls(config["labels"], tokenizer, text, model, device, precision, pairs, temperature)
        pipeline.network.load_state_dict(fitted)
        pipeline.network.eval()
        return pipeline
