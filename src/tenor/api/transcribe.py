"""The estimator of models that transcribe: the same network, loop and store as `tenor train --task transcribe`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from tenor.api.estimator import Estimator
from tenor.config import Cell, Device, Precision
from tenor.data.recordings import Recording, at_one_rate, divided, kept, spoken
from tenor.data.sound import HIGHEST_RATE, LOWEST_RATE, Sound, read_wav
from tenor.errors import TenorError
from tenor.pipelines.transcription import BEAM, Said
from tenor.training.presets_transcribe import transcribe_preset
from tenor.training.transcribe import fit

Heard = str | Path | tuple[int, np.ndarray]


class Transcriber(Estimator):
    """A recurrent network that writes down what is said.

    A sound, here and below, is the path of a WAV file, or (rate, samples) as scipy.io.wavfile.read gives them: [N] or [N, 2], whole numbers or floats from -1 to 1.

    Args:
        cell: "lstm", "gru" or "rnn"; None, here and below: the preset's.
        layers, hidden: sizes; units a direction.
        networks: that learn side by side; what they say is what has the greatest mean of their probabilities.
        epochs, batch_size, learning_rate: of the training; a batch is so many strings of recordings.
        tokens: what is written down, "word" or "char"; None: words where they are few and occur often.
        join: recordings at most that a training joins to one; 1: none.
        validation: sounds that choose the epoch, a share below 1 or a number; 0 keeps the last epoch.
        seed: the same seed and data give the same model.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32" or "bfloat16".

    After `fit`: `history_` (an entry an epoch; accuracy is the share of strings without an error), `best_epoch_`, `transcription_`.

    >>> import numpy as np
    >>> from tenor import Transcriber
    >>> beeps = [(8000, np.sin(np.arange(1200) * (1.2 if i % 2 else 0.3))) for i in range(40)]
    >>> model = Transcriber(cell="gru", layers=1, hidden=16, epochs=24, learning_rate=0.01, batch_size=4, join=1).fit(beeps, ["low", "high"] * 20)
    >>> model.predict(beeps[:2])
    ['low', 'high']
    """

    _task, _made_in = "transcribe", "transcription_"

    def __init__(
        self,
        cell: Cell | None = None,
        layers: int | None = None,
        hidden: int | None = None,
        networks: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        tokens: Literal["word", "char"] | None = None,
        join: int | None = None,
        validation: float | None = None,
        seed: int = 0,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.cell = cell
        self.layers = layers
        self.hidden = hidden
        self.networks = networks
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tokens = tokens
        self.join = join
        self.validation = validation
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(self, X: Sequence[Heard], y: Sequence[str]) -> Self:
        """Train on sounds and what is said in them.

        Raises:
            TenorError: a sound that cannot be read, X and y of different lengths, a transcript too long for its sound, too few sounds, or a setting out of its range.
        """
        settings = transcribe_preset(**self.get_params())
        rows, rate = _rows(X, y, None)
        train, aside, _ = divided(rows, settings.split.validation, self.seed)
        self.transcription_, outcome = fit(train, aside, rate, settings)
        return self._took(outcome, settings.train, {"validation": self.transcription_.measure(aside)} if aside else {})

    def predict(self, X: Sequence[Heard]) -> list[str]:
        """What is said in each sound. Raises TenorError: a sound that cannot be read."""
        return [s.text for s in self.transcribe(X)]

    def transcribe(self, X: Sequence[Heard], beam: int = BEAM, once: bool = False) -> list[Said]:
        """`predict` with the probability of each transcript; `beam` and `once` as in Transcription. Raises TenorError: a sound that cannot be read."""
        check_is_fitted(self, "transcription_")
        return self.transcription_.transcribe(_sounds(X), beam, once)

    def measure(self, X: Sequence[Heard], y: Sequence[str]) -> dict[str, Any]:
        """word_error_rate, character_error_rate, accuracy and more (see `Transcription.measure`)."""
        check_is_fitted(self, "transcription_")
        return self.transcription_.measure(_rows(X, y, self.transcription_.rate)[0])

    def score(self, X: Sequence[Heard], y: Sequence[str]) -> float:
        """1 less the word error rate: greater is better."""
        return 1 - float(self.measure(X, y)["word_error_rate"])


def _rows(X: Sequence[Heard], y: Sequence[str], rate: int | None) -> tuple[list[Recording], int]:
    sounds = [kept(s, rate) for s in _sounds(X)]
    texts = [str(t) for t in y]
    if len(sounds) != len(texts) or not sounds:
        raise TenorError(f"X and y are as long as each other, and not empty: a transcript for each sound; got {len(sounds)} and {len(texts)}.")
    samples, found = at_one_rate(sounds)
    return [Recording(s, spoken(t), "", None, f"sound {i}") for i, (s, t) in enumerate(zip(samples, texts, strict=True))], found


def _sounds(X: Sequence[Heard]) -> list[Sound]:
    if isinstance(X, (str, Path)):
        raise TenorError(f"X is a list of sounds; got one path. Give [{str(X)!r}].")
    return [read_wav(Path(x)) if isinstance(x, (str, Path)) else _given(x, i) for i, x in enumerate(X)]


def _given(x: Any, place: int) -> Sound:
    """(rate, samples) of the caller's own."""
    fault = f"Sound {place} of X must be a path or (rate, samples): [N] or [N, 2] whole numbers or floats, {LOWEST_RATE:,} to {HIGHEST_RATE:,} a second; got"
    if not isinstance(x, tuple) or len(x) != 2:
        raise TenorError(f"{fault} {x!r:.60}.")
    rate, samples = int(x[0]), np.asarray(x[1])
    if samples.dtype.kind not in "if" or samples.ndim not in (1, 2) or not len(samples) or (samples.ndim == 2 and samples.shape[1] > 2) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise TenorError(f"{fault} {list(samples.shape)} of {samples.dtype}, {rate:,} a second.")
    numbers = samples.astype(np.float32) / (-float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0)
    if not np.isfinite(numbers).all():
        raise TenorError(f"Sound {place} of X holds numbers that are not finite. Leave it out.")
    return Sound(numbers.mean(1) if numbers.ndim == 2 else numbers, rate)
