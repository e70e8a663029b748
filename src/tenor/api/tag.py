"""The estimator of models that tag: the same network, loop and store as `tenor train --task tag`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from tenor.api.estimator import Estimator
from tenor.config import Cell, Device, Precision, check
from tenor.data.tagged import Sentence
from tenor.errors import TenorError, plural
from tenor.training.presets_tag import tag_preset
from tenor.training.tag import divided, fit


class Tagger(Estimator):
    """A recurrent network that gives each word of a sentence a tag.

    Args:
        cell: "lstm", "gru" or "rnn"; None, here and below: the preset's.
        layers, hidden, embedding: sizes.
        networks: that learn side by side and answer with their mean.
        epochs, batch_size, learning_rate: of the training; a batch is so many sentences.
        vocab: words at most.
        validation: share (or number) of sentences that choose the epoch; 0 keeps the last epoch.
        seed: the same seed and data give the same model.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "bfloat16".

    After `fit`: `classes_` (the tags), `history_` (an entry an epoch; loss in nats a word), `best_epoch_`, `tagging_`.

    >>> from tenor import Tagger
    >>> words, tags = [["the", "cat", "sat"], ["the", "dog", "ran", "fast"]] * 20, [["D", "N", "V"], ["D", "N", "V", "A"]] * 20
    >>> model = Tagger(hidden=8, embedding=8, epochs=8, batch_size=4, learning_rate=0.03).fit(words, tags)
    >>> model.predict([["the", "dog", "sat"]])
    [['D', 'N', 'V']]
    """

    _task, _made_in = "tag", "tagging_"

    def __init__(
        self,
        cell: Cell | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        embedding: int | None = None,
        networks: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        vocab: int | None = None,
        validation: float | None = None,
        seed: int = 0,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.cell = cell
        self.layers = layers
        self.hidden = hidden
        self.embedding = embedding
        self.networks = networks
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.vocab = vocab
        self.validation = validation
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> Self:
        """Train on sentences, each a list of words, and their tags, a list of the same length each. Empty sentences are left out.

        Raises:
            TenorError: X and y do not fit each other, too few tags, or a setting is out of its range.
        """
        settings = tag_preset(**self.get_params())
        check(settings.text, settings.model, settings.train, settings.split)
        train, aside = divided([s for s in _sentences(X, y) if s.words], settings.split.validation, self.seed)
        self.tagging_, outcome = fit(train, aside, settings)
        return self._took(outcome, settings.train, {"validation": self.tagging_.measure(aside)} if aside else {})

    @property
    def classes_(self) -> list[str]:
        check_is_fitted(self, "tagging_")
        return self.tagging_.lexicon.tags

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """A tag for each word of each sentence. Raises TenorError if X is no list of lists of words."""
        check_is_fitted(self, "tagging_")
        return self.tagging_.tags(_sentences(X))

    def measure(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> dict[str, Any]:
        """accuracy, and where tags mark spans their precision, recall and f1 (see `Tagging.measure`)."""
        check_is_fitted(self, "tagging_")
        return self.tagging_.measure(_sentences(X, y))

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """F1 of spans where tags mark some, else the share of words with the right tag."""
        found = self.measure(X, y)
        return float(found["spans"]["f1"] if "spans" in found else found["accuracy"])


def _sentences(X: Sequence[Sequence[str]], y: Sequence[Sequence[str]] | None = None) -> list[Sentence]:
    words, tags = _lists("X", "words", X), [[] for _ in X] if y is None else _lists("y", "tags", y)
    if len(words) != len(tags):
        raise TenorError(f"X and y need the same number of sentences; they have {len(words):,} and {len(tags):,}.")
    for place, (one, other) in enumerate(zip(words, tags, strict=True)):
        if y is not None and len(one) != len(other):
            raise TenorError(f"Every word needs one tag; sentence {place} of X has {plural(len(one), 'word')} and of y {plural(len(other), 'tag')}.")
    return [Sentence(one, other) for one, other in zip(words, tags, strict=True)]


def _lists(name: str, what: str, given: Sequence[Sequence[str]]) -> list[list[str]]:
    if isinstance(given, (str, bytes)):
        raise TenorError(f"{name} is a list of lists of {what}; got one text. Write [{given!r:.40}.split()].")
    for place, row in enumerate(given):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__iter__"):
            raise TenorError(f"{name} is a list of lists of {what}; at place {place} it has {row!r:.60} of type {type(row).__name__}.")
        wrong = next((x for x in row if not isinstance(x, str) or not x), None) if all(x is not None for x in row) else None
        if wrong is not None or any(x is None for x in row):
            raise TenorError(f"{what.capitalize()} are texts and not empty; {name} has {wrong!r:.60} in sentence {place}.")
    return [list(row) for row in given]
