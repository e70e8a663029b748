"""Tokenizer and network together: texts in, probabilities out. What a model folder rebuilds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from tenor.cells.hardware import choose_device, choose_dtype, precision_of_stored
from tenor.cells.reader import IN_8_BITS
from tenor.config import Device, ModelConfig, ReadingPrecision, TextConfig, build, check
from tenor.data.pairs import PAIRS, Pairs
from tenor.data.text import Ragged, Tokenizer, cut
from tenor.errors import TenorError
from tenor.models.classify import classifier, read_logits, shares
from tenor.models.encoder import reads_8_bits
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task

BESIDE = "beside"  # of the second network's settings in config.json; its weights' names begin with it and a dot


class Pipeline:
    """A classifier ready for texts.

    Args:
        labels: names in the order of the probabilities; with two, the second is the positive one.
        tokenizer, text, pairs: how a text becomes ids.
        model: the network's sizes.
        temperature: logits are divided by it before they become probabilities (results/calibrate.py).
        device, precision: where and how it computes; int8 is for reading alone.

    Attributes:
        beside: another classifier of the same labels and tokenizer that answers too, of other sizes and with its own way to read; None: there is none.
        share: of the logits, what is `beside`'s; the rest is this one's own.
        sure: of a text whose label this one gives a probability above it, before the temperature, `beside` is not asked.
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
        self.beside: Pipeline | None = None
        self.share, self.sure = 0.0, 1.0
        where = choose_device(device)
        self.network = classifier(len(tokenizer) + (len(pairs.keys) if pairs else 0), len(self.labels), model, choose_dtype(precision, where, model)).to(where)

    def answering_with(self, other: Pipeline, share: float, sure: float = 1.0) -> Pipeline:
        """This classifier, and from now on another one answers too, where this one is not sure: `share` of the logits is its own. Returns itself.

        Raises:
            TenorError: share or sure is not above 0 and at most 1.
        """
        assert other.beside is None
        for name, value in (("share", share), ("sure", sure)):
            if not 0 < value <= 1:
                raise TenorError(f"{name} of the network {BESIDE} the first must be above 0 and at most 1; got {value!r}. Copy the model folder again, or train anew.")
        self.beside, self.share, self.sure = other, share, sure
        return self

    def sharpen(self, factor: float) -> None:
        """All logits of the network times a factor: no label changes, and what is above 1 makes it surer of each."""
        with torch.no_grad():
            for member in self.network.members:
                member.output.weight.mul_(factor)
                member.output.bias.mul_(factor)

    @property
    def path(self) -> str:
        """Which kernel runs it, and why."""
        own, other = self.network.path, self.beside.network.path if self.beside else ""
        why = ": " + own.removesuffix(IN_8_BITS).rpartition(": ")[2]
        return own if other in ("", own) else f"{own}; beside it {other.replace(why, '')}"  # the reason, where it is the same, once

    @property
    def max_tokens(self) -> int:
        """Of a text, so many are read at most, by the first or by the one beside."""
        return max(self.text.max_tokens, self.beside.max_tokens) if self.beside else self.text.max_tokens

    @property
    def pad_to(self) -> int:
        return self.text.max_tokens if self.text.pad_to_max else 0

    def read(self, ids: Ragged) -> Ragged:
        """Ids of the tokenizer -> those that the network reads."""
        return cut(self.pairs.read(ids) if self.pairs else ids, self.text.max_tokens, self.text.keep)

    def probabilities(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cleaned texts -> [rows, labels] probabilities and [rows] tokens of each text before cutting."""
        ids = self.tokenizer.encode(texts)
        return self.probabilities_of(ids), ids.lengths

    def probabilities_of(self, ids: Ragged) -> np.ndarray:
        """Texts as uncut ids of the tokenizer -> [rows, labels]."""
        return shares(self.logits_of(ids), self.temperature)

    def logits(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cleaned texts -> [rows, 1] (two labels) or [rows, labels] scores without the temperature, and [rows] tokens of each text before cutting."""
        ids = self.tokenizer.encode(texts)
        return self.logits_of(ids), ids.lengths

    def logits_of(self, ids: Ragged) -> np.ndarray:
        """Texts as uncut ids of the tokenizer -> as `logits`."""
        own = read_logits(self.network, self.read(ids), pad_to=self.pad_to)
        if self.beside:
            asked = self.unsure(own)
            other = self.beside.logits_of(ids.take(ids.offsets[asked], ids.lengths[asked]))
            own[asked] = (1 - self.share) * own[asked] + self.share * other
        return own

    def unsure(self, own: np.ndarray) -> np.ndarray:
        """Rows for which the one beside is asked; own: [rows, 1] or [rows, labels] logits of this one's network alone."""
        return np.flatnonzero(shares(own).max(1) <= self.sure)

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "classify", "labels": self.labels, "text": asdict(self.text), "model": asdict(self.model), "temperature": self.temperature} | more
        weights = {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}
        if self.pairs:
            weights[PAIRS] = self.pairs.keys
        if self.beside:
            other = self.beside.stored({}, {}, [])
            config[BESIDE] = {"share": self.share, "sure": self.sure} | {part: other.config[part] for part in ("text", "model")}
            weights |= {f"{BESIDE}.{k}": v for k, v in other.weights.items()}
        return Stored(config, self.tokenizer.to_json(), weights, metrics, history)

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Pipeline:
        """Raises TenorError if tokenizer, settings and weights do not fit each other."""
        check_task(stored.config, "classify")
        own, other = parted(stored)
        pipeline = cls._rebuilt(own, device, precision)
        if not other:
            return pipeline
        sure = _number(stored.config[BESIDE].get("sure", 1.0), "sure")  # folders of format 3 have none: both read every text
        return pipeline.answering_with(cls._rebuilt(other, device, precision, pipeline.tokenizer), share_of(stored.config), sure)

    @classmethod
    def _rebuilt(cls, stored: Stored, device: Device, precision: ReadingPrecision, tokenizer: Tokenizer | None = None) -> Pipeline:
        config = stored.config
        if not isinstance(config.get("labels"), list) or len(config["labels"]) < 2:
            raise TenorError("config.json must name two labels or more. Copy the model folder again, or train anew.")
        text, model = build(TextConfig, config.get("text", {})), build(ModelConfig, config.get("model", {}))
        check(text, model)
        temperature = _number(config.get("temperature", 1.0), "temperature")  # folders of format 1 have none
        tokenizer = tokenizer or Tokenizer.from_json(stored.tokenizer)
        weights = dict(stored.weights)
        keys = weights.pop(PAIRS, None)
        if (keys is not None) != (text.pairs > 0):
            raise TenorError(f"{PAIRS} are among the weights of a model that reads pairs of words, and of no other. Copy the model folder again.")
        pairs = None if keys is None else Pairs(keys, len(tokenizer))
        vocab = len(tokenizer) + (len(pairs.keys) if pairs else 0)
        fitted = fitting(lambda: classifier(vocab, len(config["labels"]), model), weights)
        precision = precision_of_stored(precision, config.get("weights", "float32"), device, weights, lambda: reads_8_bits(vocab, model))
        pipeline = cls(config["labels"], tokenizer, text, model, device, precision, pairs, temperature)
        pipeline.network.load_state_dict(fitted)
        pipeline.network.eval()
        return pipeline


def parted(stored: Stored) -> tuple[Stored, Stored | None]:
    """A classifier's folder as two: of the network that its settings describe, and of the one beside it, if there is one.

    Raises:
        TenorError: the settings of the one beside it are no object.
    """
    if BESIDE not in stored.config:
        return stored, None
    config, start = {k: v for k, v in stored.config.items() if k != BESIDE}, f"{BESIDE}."
    beside = stored.config[BESIDE]
    if not isinstance(beside, dict):
        raise TenorError(f"{BESIDE} in config.json must be an object; got {beside!r}. Copy the model folder again, or train anew.")
    weights = {k: v for k, v in stored.weights.items() if not k.startswith(start)}
    others = {k.removeprefix(start): v for k, v in stored.weights.items() if k.startswith(start)}
    return replace(stored, config=config, weights=weights), replace(stored, config=config | {part: beside.get(part, {}) for part in ("text", "model")}, weights=others)


def share_of(config: dict[str, Any]) -> float:
    """Of the answer, what is the other part's of a folder that `parted` has parted. Raises TenorError: no number above 0."""
    return _number(config[BESIDE].get("share"), "share")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise TenorError(f"The {name} in config.json must be a number above 0; got {value!r}. Copy the model folder again, or train anew.")
    return value
