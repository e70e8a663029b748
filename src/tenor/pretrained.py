"""What a training can start from: tokenizer and encoder, of a language model or of a trained classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tenor.config import ModelConfig, TextConfig, build, check
from tenor.data.text import Tokenizer
from tenor.errors import TenorError
from tenor.store import Stored


@dataclass(frozen=True)
class Pretrained:
    """A tokenizer, the settings that it was trained with, and the encoder's weights by their names in nn.Module.state_dict."""

    tokenizer: Tokenizer
    text: TextConfig
    model: ModelConfig
    encoder: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, stored: Stored, folder: str) -> Pretrained:
        """From a model folder of either kind.

        Raises:
            TenorError: the folder holds another task, or reads pairs of words, which have no vectors in the new data.
        """
        task = stored.config.get("task")
        if task not in ("pretrain", "classify"):
            raise TenorError(f"A training starts from a pretrained model or a classifier; {folder} holds a model for the task {task!r}.")
        text, model = build(TextConfig, stored.config.get("text", {})), build(ModelConfig, stored.config.get("model", {}))
        check(text, model)
        if text.pairs:
            raise TenorError(f"{folder} reads pairs of words that tell its own labels apart (--preset quick), which fit no other data. Start from a model of another preset, or from: tenor pretrain")
        encoder = {k.removeprefix("encoder."): v for k, v in stored.weights.items() if k.startswith("encoder.")}
        return cls(Tokenizer.from_json(stored.tokenizer), text, model, encoder)

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "pretrain", "text": asdict(self.text), "model": asdict(self.model)} | more
        return Stored(config, self.tokenizer.to_json(), {f"encoder.{k}": v for k, v in self.encoder.items()}, metrics, history)

    def fingerprint(self) -> str:
        """Changes with any word and any weight."""
        digest = hashlib.sha256(self.tokenizer.to_json().encode())
        for name in sorted(self.encoder):
            digest.update(np.ascontiguousarray(self.encoder[name]).tobytes())
        return digest.hexdigest()

    def give(self, encoder: nn.Module) -> None:
        """Put the weights into an encoder of the same sizes.

        Raises:
            TenorError: the sizes differ.
        """
        wanted = {k: tuple(v.shape) for k, v in encoder.state_dict().items()}
        found = {k: v.shape for k, v in self.encoder.items()}
        if wanted != found:
            odd = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
            raise TenorError(f"The pretrained weights do not fit the network at {odd[0]}: {found.get(odd[0])} where {wanted.get(odd[0])} belongs.")
        encoder.load_state_dict({k: torch.from_numpy(v) for k, v in self.encoder.items()})
