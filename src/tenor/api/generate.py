"""The estimator of models that generate: the same network, loop and store as `tenor train --task generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tenor.api.estimator import Estimator
from tenor.config import Cell, Device, Precision, Tokens, check
from tenor.data.plain import validation_of_texts
from tenor.errors import TenorError
from tenor.models.generate import Sampling
from tenor.training.generate import fit
from tenor.training.presets_generate import generate_preset


class Generator(Estimator):
    """A recurrent network that goes on with a text.

    Args:
        cell: "lstm", "gru" or "rnn"; None, here and below: the preset's.
        layers, hidden, embedding: sizes.
        epochs, batch_size, learning_rate: of the training; a batch is so many streams side by side.
        max_tokens: steps that a gradient goes back.
        vocab: characters or byte pairs at most.
        tokens: "char" or "bpe".
        validation: share that chooses the epoch: the end of a single text, or so many of several; 0 keeps the last epoch.
        seed: the same seed and data give the same model.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "bfloat16".

    After `fit`: `history_` (an entry an epoch; loss in nats a token), `best_epoch_`, `generation_`.

    >>> from tenor import Generator
    >>> model = Generator(cell="gru", hidden=16, embedding=8, layers=1, epochs=15, batch_size=2, max_tokens=16, learning_rate=0.03).fit("abcd" * 100)
    >>> model.generate("ab", length=6, temperature=0)
    'cdabcd'
    """

    _task, _made_in = "generate", "generation_"

    def __init__(
        self,
        cell: Cell | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        embedding: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        max_tokens: int | None = None,
        vocab: int | None = None,
        tokens: Tokens | None = None,
        validation: float | None = None,
        seed: int = 0,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.cell = cell
        self.layers = layers
        self.hidden = hidden
        self.embedding = embedding
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_tokens = max_tokens
        self.vocab = vocab
        self.tokens = tokens
        self.validation = validation
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(self, X: str | Sequence[str], y: None = None) -> Self:  # noqa: ARG002 - scikit-learn's interface
        """Train on one text, or on several. They are taken as they are.

        Raises:
            TenorError: X is neither, it is too short, or a setting is out of its range.
        """
        settings = generate_preset(**self.get_params())
        check(settings.text, settings.model, settings.train, settings.split)
        train, aside = validation_of_texts(_texts(X), settings.split.validation or 0.0, self.seed)
        self.generation_, outcome = fit(train, aside, settings)
        return self._took(outcome, settings.train, {"validation": self.generation_.measure(aside)} if aside else {})

    def generate(self, prompt: str = "", length: int = 500, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0, stop: str = "") -> str:
        """What comes after a prompt (see `Sampling`): at most `length` tokens, up to `stop` and without it.

        Raises:
            TenorError: a character that never occurred in training, or a setting out of its range.
        """
        return "".join(self.stream(prompt, length, temperature, top_k, top_p, seed, stop))

    def stream(
        self, prompt: str = "", length: int = 500, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0, stop: str = ""
    ) -> Iterator[str]:
        """`generate`, a piece at a time."""
        check_is_fitted(self, "generation_")
        return self.generation_.stream(prompt, length, Sampling(temperature, top_k, top_p, seed), stop)

    def measure(self, X: str | Sequence[str]) -> dict[str, Any]:
        """perplexity, nats_per_character, bits_per_character and more (see `Generation.measure`)."""
        check_is_fitted(self, "generation_")
        return self.generation_.measure(_texts(X))

    def score(self, X: str | Sequence[str], y: None = None) -> float:  # noqa: ARG002
        """Minus the nats a character: greater is better."""
        return -float(self.measure(X)["nats_per_character"])


def _texts(X: str | Sequence[str]) -> list[str]:
    texts = [X] if isinstance(X, str) else list(np.asarray(X, dtype=object).ravel())
    wrong = next((i for i, t in enumerate(texts) if not isinstance(t, str)), None)
    if wrong is not None or isinstance(X, bytes):
        found = X if wrong is None else texts[wrong]
        raise TenorError(f"X is a text or a list of texts; got {found!r:.60} of type {type(found).__name__}.")
    return texts
