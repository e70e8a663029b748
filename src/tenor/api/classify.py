"""The estimator: scikit-learn's interface over the same network, loop and store as the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tenor import store
from tenor.api.estimator import Estimator
from tenor.config import Cell, Device, Precision, ReadingPrecision, Tokens, check
from tenor.data.splits import validation_split
from tenor.data.text import clean
from tenor.errors import TenorError, plural
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.results.calibrate import calibrate
from tenor.training.first import weighed
from tenor.training.fit import fit
from tenor.training.presets import GIVEN, Preset, preset
from tenor.training.texts import Labelled, Tokenised


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A recurrent text classifier.

    Args:
        preset: "base" (recommended), "quick" (seconds instead of minutes) or "article" (the classic tutorial network); None in any other argument is its value.
        cell: "lstm", "gru" or "rnn".
        layers: stacked recurrent layers.
        hidden: units a direction.
        embedding: size of the word vectors.
        bidirectional: read each text from both ends.
        networks: that learn side by side and answer with their mean.
        epochs, batch_size, learning_rate: of the training.
        max_tokens: longer texts are cut.
        vocab: entries of the vocabulary.
        tokens: "word" or "bpe".
        validation: share (below 1) or number of the rows given to `fit` that choose the epoch; 0 keeps the last one.
        seed: the same seed and data give the same model.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "bfloat16".
        start: a model to start from, pretrained or trained: a folder, or "reviews-en". Tokens, sizes and weights are then its own, and where the labels are
            the same its answers too; a network that answers beside the others there is trained likewise and answers beside them again (history_ is of the others). cell, layers, hidden, embedding, bidirectional, vocab and tokens cannot be chosen, and networks only where the start is a language model.

    After `fit`: `classes_` [labels], `history_` (an entry an epoch), `best_epoch_`, `pipeline_`.

    >>> from tenor import Classifier
    >>> texts, labels = ["good food", "bad food", "a good room", "a bad room"] * 5, ["pos", "neg", "pos", "neg"] * 5
    >>> model = Classifier(cell="gru", hidden=8, epochs=30, seed=1).fit(texts, labels)
    >>> model.predict(["good", "bad"]).tolist()
    ['pos', 'neg']
    """

    _task, _made_in = "classify", "pipeline_"

    def __init__(
        self,
        preset: str = "base",
        cell: Cell | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        embedding: int | None = None,
        bidirectional: bool | None = None,
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
        start: str | Path | None = None,
        networks: int | None = None,
    ) -> None:
        self.preset = preset
        self.cell = cell
        self.layers = layers
        self.hidden = hidden
        self.embedding = embedding
        self.bidirectional = bidirectional
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
        self.start = start
        self.networks = networks

    def fit(self, X: Sequence[str], y: ArrayLike) -> Self:
        """Train on texts.

        Args:
            X: [rows] texts (a list, an array or a column of a data frame).
            y: [rows] labels of any kind that sorts (str, int, bool).

        Raises:
            TenorError: X holds no texts, X and y differ in length, there is one label only, or nothing can start from `start`.
        """
        texts = _texts(X)
        labels = np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(texts):
            raise TenorError(f"fit needs a label for each text; got {plural(len(texts), 'text')} and labels of shape {labels.shape}.")
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise TenorError(f"Training needs at least two different labels; got {self.classes_.tolist()}.")
        train, validation = validation_split(targets, np.arange(len(texts)), self.validation, self.seed)
        start = self._start()
        settings = self._settings(len(train), start)
        check(settings.text, settings.model, settings.train)
        targets = targets.astype(np.int64)
        learnt = [texts[i] for i in train]
        tokens = Tokenised.of(learnt, settings.text, start.tokenizer if start else None)
        rows = Labelled(self.classes_.tolist(), learnt, tokens, targets[train], [texts[i] for i in validation], targets[validation])
        self.pipeline_, outcome = fit(rows, settings, start=start)
        if start and start.beside:  # what answers beside in the start learns too, and answers beside again
            beside, _ = fit(rows, self._settings(len(train), start.beside), start=start.beside)
            self.pipeline_ = weighed(self.pipeline_, beside, rows.validation_texts, rows.validation_targets, start.share)
        calibration = calibrate(self.pipeline_, rows.validation_texts, rows.validation_targets)
        parameters = self.get_params() | {"start": None if self.start is None else str(self.start)}
        return self._took(outcome, settings.train, {"calibration": calibration}, parameters)

    def _start(self) -> Pretrained | None:
        if self.start is None:
            return None
        chosen = [name for name in GIVEN if getattr(self, name) is not None]
        if chosen:
            raise TenorError(f"start takes tokens and sizes from {self.start}, so {chosen[0]} cannot be chosen. Leave it out, or start from nothing.")
        return Pretrained.read(self.start)

    def _settings(self, rows: int, start: Pretrained | None) -> Preset:
        changes = {k: v for k, v in self.get_params().items() if k not in ("preset", "validation", "start")}
        found = preset(self.preset, rows, start.settings if start else None, **changes)
        if found.language:
            raise TenorError(f"preset={self.preset!r} learns from texts without a label too, which fit is not given. Train it with: tenor train SOURCE --preset {self.preset}, and use it with tenor.load.")
        return found

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """[rows] texts -> [rows, labels], columns as in `classes_`."""
        check_is_fitted(self, "pipeline_")
        return self.pipeline_.probabilities(_texts(X))[0]

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """[rows] texts -> [rows] labels."""
        best = self.predict_proba(X).argmax(1)
        labels: np.ndarray = self.classes_[best]
        return labels

    def score(self, X: Sequence[str], y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy. Raises TenorError if the model knows none of the labels of y: all would be wrong for want of a common word."""
        check_is_fitted(self, "pipeline_")
        asked, known = list(dict.fromkeys(np.asarray(y).tolist())), self.classes_.tolist()
        if asked and not set(asked) & set(known):
            raise TenorError(f"y must hold labels of the model, {', '.join(map(repr, known))}; got {', '.join(map(repr, asked[:5]))}. Rename them.")
        return float(super().score(X, y, sample_weight))

    @classmethod
    def _rebuilt(cls, stored: store.Stored, device: Device, precision: ReadingPrecision) -> Pipeline:
        return Pipeline.rebuilt(stored, device, precision)

    @classmethod
    def of(cls, stored: store.Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Self:
        """From what a model folder holds; `load` reads one. Raises TenorError as Pipeline.rebuilt."""
        model = super().of(stored, device, precision)
        model.classes_ = np.array(stored.config["labels"])
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags


def _texts(X: Sequence[str]) -> list[str]:
    if isinstance(X, (str, bytes)):
        raise TenorError(f"X is a list of texts; got one text. Write [{X!r:.40}].")
    texts = list(np.asarray(X, dtype=object).ravel()) if not isinstance(X, list) else X
    wrong = next((i for i, t in enumerate(texts) if not isinstance(t, str)), None)
    if wrong is not None:
        raise TenorError(f"X is a list of texts; at place {wrong} it has {texts[wrong]!r:.60} of type {type(texts[wrong]).__name__}.")
    return [clean(t) for t in texts]
