"""What a training can start from: tokenizer and encoder of a language model; of a trained classifier also its answers, where the labels are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tenor.box.names import model_folder
from tenor.config import ModelConfig, Start, TextConfig, build, check
from tenor.data.columns import same_labels
from tenor.data.pairs import PAIRS, Pairs
from tenor.data.text import Tokenizer
from tenor.errors import TenorError
from tenor.models.classify import Classifiers, TextClassifier
from tenor.pipelines.classification import parted, share_of
from tenor.store import Stored, check_there, read


@dataclass(frozen=True)
class Pretrained:
    """A tokenizer, the settings that it was trained with, and of each network the encoder's weights by their names in nn.Module.state_dict.

    Of a classifier also the pairs of words that it reads, its labels, and the dense outputs' weights likewise.
    """

    tokenizer: Tokenizer
    text: TextConfig
    model: ModelConfig
    encoders: Sequence[Mapping[str, np.ndarray]]
    pairs: Pairs | None = None
    labels: Sequence[Any] = ()
    outputs: Sequence[Mapping[str, np.ndarray]] = ()
    beside: Pretrained | None = None  # another network, of sizes of its own, that answers beside these
    share: float = 0.0  # of the answer, what is its
    config: Mapping[str, Any] = field(default_factory=dict)  # of the folder, which tells what it was trained on

    @property
    def settings(self) -> Start:
        return Start(self.text, self.model, bool(self.labels))

    @classmethod
    def read(cls, model: str | Path) -> Pretrained:
        """From a model folder of either kind, or the name of a model of the box.

        Raises:
            TenorError: as `of`, box.names.model_folder and store.read.
        """
        folder = model_folder(model)
        check_there(folder, starts=True)
        return cls.of(read(folder), str(model))

    @classmethod
    def of(cls, stored: Stored, folder: str, tokenizer: Tokenizer | None = None) -> Pretrained:
        """From a model folder of either kind; tokenizer: the folder's, if it is made already.

        Raises:
            TenorError: the folder holds another task, or pairs of words do not fit its settings, or what answers beside is not described.
        """
        task = stored.config.get("task")
        if task not in ("pretrain", "classify"):
            raise TenorError(f"A training starts from a pretrained model or a classifier; {folder} holds a model for the task {task!r}.")
        whole = stored
        stored, other = parted(whole)
        text, model = build(TextConfig, stored.config.get("text", {})), build(ModelConfig, stored.config.get("model", {}))
        check(text, model)
        tokenizer = tokenizer or Tokenizer.from_json(stored.tokenizer)
        keys = stored.weights.get(PAIRS)
        if (keys is not None) != (text.pairs > 0):
            raise TenorError(f"{PAIRS} are among the weights of a model that reads pairs of words, and of no other. Copy the model folder again.")
        pairs = None if keys is None else Pairs(keys, len(tokenizer))
        encoders, outputs = ([{k.removeprefix(prefix): v for k, v in stored.weights.items() if k.startswith(prefix)} for prefix in _prefixes(part, model)] for part in ("encoder.", "output."))
        beside, share = (cls.of(other, folder, tokenizer), share_of(whole.config)) if other else (None, 0.0)
        return cls(tokenizer, text, model, encoders, pairs, stored.config.get("labels", []), outputs if any(outputs) else (), beside, share, whole.config)

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "pretrain", "text": asdict(self.text), "model": asdict(self.model)} | more
        return Stored(config, self.tokenizer.to_json(), {f"encoder.{k}": v for k, v in self.encoders[0].items()}, metrics, history)

    def fingerprint(self) -> str:
        """Changes with any word and any weight, but for those of `beside`."""
        digest = hashlib.sha256(self.tokenizer.to_json().encode())
        for weights in (*self.encoders, *self.outputs):
            for name in sorted(weights):
                digest.update(np.ascontiguousarray(weights[name]).tobytes())
        if self.pairs:
            digest.update(self.pairs.keys.tobytes())
        return digest.hexdigest()

    def answers(self, labels: Sequence[Any], model: ModelConfig) -> list[dict[str, np.ndarray]]:
        """The dense outputs' weights for a network of these labels; empty where they must begin anew: other labels, or another pooling.

        Args:
            labels: in the network's order; "pos" and "positive" are the same.
            model: of the network.
        """
        places = same_labels(labels, self.labels) if self.outputs and model.pooling == self.model.pooling else None
        if places is None:
            return []
        if len(places) == 2:  # one logit, for the second label
            return [{k: v if places == [0, 1] else -v for k, v in output.items()} for output in self.outputs]
        return [{k: v[places] for k, v in output.items()} for output in self.outputs]

    def give(self, network: TextClassifier | Classifiers, labels: Sequence[Any]) -> None:
        """Put encoder and answers into a classifier of these labels; several networks all start from one language model.

        Raises:
            TenorError: the sizes differ.
        """
        encoders = self.encoders if self.labels else list(self.encoders) * len(network.members)
        for member, encoder in zip(network.members, encoders, strict=True):
            _give(encoder, member.encoder)
        for member, output in zip(network.members, self.answers(labels, network.members[0].encoder.config), strict=False):  # no answers: they begin anew
            member.output.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in output.items()})


def _prefixes(part: str, model: ModelConfig) -> Iterator[str]:
    """Of the names of that part's weights, one for each network of the folder."""
    return iter([part]) if model.networks == 1 else (f"networks.{i}.{part}" for i in range(model.networks))


def _give(weights: Mapping[str, np.ndarray], encoder: nn.Module) -> None:
    wanted = {k: tuple(v.shape) for k, v in encoder.state_dict().items()}
    found = {k: v.shape for k, v in weights.items()}
    if wanted != found:
        odd = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise TenorError(f"The pretrained weights do not fit the network at {odd[0]}: {found.get(odd[0])} where {wanted.get(odd[0])} belongs.")
    encoder.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
