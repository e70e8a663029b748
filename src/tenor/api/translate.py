"""The estimator of models that translate: the same network, loop and store as `tenor train --task translate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tenor.api.estimator import Estimator
from tenor.config import Cell, Device, Precision, check
from tenor.data.aligned import Pair, check_aligned, validation_of_pairs
from tenor.data.text import clean
from tenor.errors import TenorError
from tenor.models.translate import Search
from tenor.pipelines.translation import Attention
from tenor.training.presets_translate import translate_preset
from tenor.training.translate import fit


class Translator(Estimator):
    """A recurrent network with attention that turns a text into its counterpart.

    Args:
        cell: "lstm", "gru" or "rnn"; None, here and below: the preset's.
        layers: of the encoder, and of the decoder behind its first.
        hidden: units of the decoder's layers; each direction of the encoder has a half of them.
        embedding: size of the tokens' vectors.
        attention: "dot" or "additive".
        feeding: input feeding: what was said goes into the decoder's first layer, and training goes step by step.
        shared: one vocabulary for both sides.
        epochs, batch_size, learning_rate: of the training.
        max_tokens: longer texts are cut, and nothing longer is written.
        vocab: byte pairs at most.
        validation: share (below 1) or number of the pairs that choose the epoch; 0 keeps the last one.
        beam, length_penalty: how a translation is looked for (see `Search`).
        seed: the same seed and data give the same model.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "bfloat16".

    After `fit`: `history_` (an entry an epoch; loss in nats a token), `best_epoch_`, `translation_`.

    >>> from tenor import Translator
    >>> numbers, words = ["1", "2", "1 2", "2 1"] * 8, ["one", "two", "one two", "two one"] * 8
    >>> model = Translator(hidden=16, embedding=16, vocab=300, epochs=40, batch_size=8, learning_rate=0.03, validation=0).fit(numbers, words)
    >>> model.predict(["2 1"])
    ['two one']
    """

    _task, _made_in = "translate", "translation_"

    def __init__(
        self,
        cell: Cell | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        embedding: int | None = None,
        attention: Literal["dot", "additive"] | None = None,
        feeding: bool | None = None,
        shared: bool | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        max_tokens: int | None = None,
        vocab: int | None = None,
        validation: float | None = None,
        beam: int = 5,
        length_penalty: float = 1.0,
        seed: int = 0,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.cell = cell
        self.layers = layers
        self.hidden = hidden
        self.embedding = embedding
        self.attention = attention
        self.feeding = feeding
        self.shared = shared
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_tokens = max_tokens
        self.vocab = vocab
        self.validation = validation
        self.beam = beam
        self.length_penalty = length_penalty
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(self, X: Sequence[str], y: Sequence[str]) -> Self:
        """Train on texts and their counterparts.

        Raises:
            TenorError: they are not as many, one is no text, too few, or a setting is out of its range.
        """
        Search(self.beam, self.length_penalty)
        settings = translate_preset(**{k: v for k, v in self.get_params().items() if k not in ("beam", "length_penalty")})
        check(settings.text, settings.model, settings.train, settings.split)
        pairs = [p for p in _pairs(X, y) if p.source and p.target]
        train, aside = validation_of_pairs(pairs, settings.split.validation, self.seed)
        self.translation_, outcome = fit(train, aside, settings)
        metrics: dict[str, Any] = {"left_out": self.translation_.left_out}
        if aside:
            metrics["validation"] = self.translation_.measure(aside, self._search())
        return self._took(outcome, settings.train, metrics)

    def predict(self, X: Sequence[str]) -> list[str]:
        """The counterpart of each text; of an empty one an empty one."""
        check_is_fitted(self, "translation_")
        return [a.text for a in self.translation_.translate(_texts("X", X), self._search())]

    def explain(self, text: str) -> Attention:
        """Where the network looked while it wrote: pieces of the source, pieces that were written, weights [written, source]. Raises TenorError if the text is empty."""
        check_is_fitted(self, "translation_")
        return self.translation_.attention(text, self._search())[1]

    def measure(self, X: Sequence[str], y: Sequence[str]) -> dict[str, Any]:
        """bleu, chrf and more (see `Translation.measure`)."""
        check_is_fitted(self, "translation_")
        return self.translation_.measure(_pairs(X, y), self._search())

    def score(self, X: Sequence[str], y: Sequence[str]) -> float:
        """BLEU (sacreBLEU, 13a, cased), 0 to 100."""
        return float(self.measure(X, y)["bleu"])

    def _search(self) -> Search:
        return Search(self.beam, self.length_penalty)


def _pairs(X: Sequence[str], y: Sequence[str]) -> list[Pair]:
    sources, targets = _texts("X", X), _texts("y", y)
    check_aligned(sources, targets)
    return [Pair(clean(a), clean(b), None) for a, b in zip(sources, targets, strict=True)]


def _texts(name: str, given: Sequence[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else list(np.asarray(given, dtype=object).ravel())
    wrong = next((i for i, t in enumerate(texts) if not isinstance(t, str)), None)
    if wrong is not None or isinstance(given, str | bytes):
        found = given if wrong is None else texts[wrong]
        raise TenorError(f"{name} is a list of texts; got {found!r:.60} of type {type(found).__name__}.")
    return texts
