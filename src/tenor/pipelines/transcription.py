"""Symbols and network together: sounds in, what is said out. What a model folder of the task transcribe rebuilds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from tenor.cells.hardware import choose_device, choose_dtype
from tenor.config import Device, ReadingPrecision, SoundConfig, TranscribeConfig, build, check
from tenor.data.joined import batch_of
from tenor.data.recordings import Recording, Symbols, of_whole
from tenor.data.sound import HIGHEST_RATE, LOWEST_RATE, Sound, resampled
from tenor.data.views import AS_IT_IS, seen, steps_in, views_of
from tenor.errors import TenorError
from tenor.models.transcribe import distance, most_probable, speech_network
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task

BEAM = 8
_AT_ONCE = 60_000  # steps of a batch, padding included: 12 MB of frames


class Said(NamedTuple):
    """text; probability: of these words against all others, as the network sees it; seconds: of the sound."""

    text: str
    probability: float
    seconds: float


class Transcription:
    """A model ready for sounds.

    Args:
        symbols: words or characters, and their numbers.
        sound, model: settings.
        rate: samples a second that it hears; sounds of other rates are resampled.
        device, precision: where and how it computes.
    """

    def __init__(self, symbols: Symbols, sound: SoundConfig, model: TranscribeConfig, rate: int, device: Device = "auto", precision: ReadingPrecision = "auto") -> None:
        self.symbols, self.sound, self.model, self.rate = symbols, sound, model, rate
        if precision == "int8":
            raise TenorError("Precision int8 is for reading with a classifier; a model that transcribes has none. Use bfloat16 or float32.")
        where = choose_device(device)
        self.network = speech_network(sound.bands * sound.stack, len(symbols), model, choose_dtype(precision, where, model)).to(where)

    @property
    def path(self) -> str:
        return self.network.path

    def transcribe(self, sounds: Sequence[Sound], beam: int = BEAM, once: bool = False) -> list[Said]:
        """What is said in each sound, of any rate.

        Args:
            beam: prefixes that the search keeps; 1: the most probable way, without a search.
            once: each sound is heard as it is alone, and not in the views of data/views.py too, which sounds of up to a minute have.
        """
        return self._said([resampled(s, self.rate) for s in sounds], beam, once)

    def measure(self, rows: Sequence[Recording], beam: int = BEAM) -> dict[str, Any]:
        """How well it hears recordings, which are at its rate.

        Returns:
            rows, right (those without an error), accuracy, words, word_errors (words replaced, left out and added), word_error_rate,
            characters, character_errors, character_error_rate (of the transcripts, spaces included), seconds (of sound).

        Raises:
            TenorError: no transcript has a word.
        """
        said = self._said([r.samples for r in rows], beam)
        words, characters = sum(len(r.text.split()) for r in rows), sum(len(r.text) for r in rows)
        if not words:
            raise TenorError("A word error rate needs words: no transcript has one. Choose the column with --text.")
        word_errors = sum(distance(r.text.split(), s.text.split()) for r, s in zip(rows, said, strict=True))
        character_errors = sum(distance(r.text, s.text) for r, s in zip(rows, said, strict=True))
        right = sum(r.text == s.text for r, s in zip(rows, said, strict=True))
        return {
            "rows": len(rows), "right": right, "accuracy": right / len(rows),
            "words": words, "word_errors": word_errors, "word_error_rate": word_errors / words,
            "characters": characters, "character_errors": character_errors, "character_error_rate": character_errors / characters,
            "seconds_of_sound": round(sum(s.seconds for s in said), 2),
        }  # fmt: skip

    def _said(self, samples: Sequence[np.ndarray], beam: int, once: bool = False) -> list[Said]:
        """samples: [N] each at the model's rate, int16 or float32."""
        if beam < 1:
            raise TenorError(f"beam must be at least 1; got {beam}.")
        self.network.freeze()
        found: dict[int, Said] = {}
        views = [[AS_IT_IS] if once else views_of(len(s), self.sound, self.rate) for s in samples]
        for rows in _batches([steps_in(v, len(s), self.sound, self.rate) for v, s in zip(views, samples, strict=True)]):
            steps = [[seen(_numbers(samples[i]), view, self.sound, self.rate) for view in views[i]] for i in rows]
            readings = self._readings([view for each in steps for view in each])
            for row, each in zip(rows, steps, strict=True):
                own, readings = readings[: len(each)], readings[len(each) :]
                symbols, log = most_probable([logs for view in own for logs in view], beam)
                found[row] = Said(self.symbols.decode(symbols), math.exp(min(0.0, log)), len(samples[row]) / self.rate)
        return [found[i] for i in range(len(samples))]

    def _readings(self, steps: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """[T, features] each -> of each what every network makes of it, [T, V]."""
        batch = batch_of(steps, [[]] * len(steps))
        with torch.inference_mode():
            logs = self.network(batch.steps, batch.lengths).cpu().numpy()
        by_network = logs.reshape(-1, *logs.shape[-3:])  # [N, T, B, V]
        return [[own[: len(row), place] for own in by_network] for place, row in enumerate(steps)]

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        config = {"task": "transcribe", "rate": self.rate, "text": asdict(self.sound), "model": asdict(self.model)} | more
        symbols = json.dumps({"kind": self.symbols.kind, "names": self.symbols.names}, ensure_ascii=False)
        return Stored(config, symbols, {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}, metrics, history)

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Weights by their names in the network's state dict."""
        self.network.load_state_dict(weights)
        self.network.eval()

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Transcription:
        """Raises TenorError if the folder is of another task, or symbols, settings and weights do not fit each other."""
        config = stored.config
        check_task(config, "transcribe")
        text = config.get("text", {})
        older = {} if "cepstra" in text else {"cepstra": text.get("bands", SoundConfig.bands)}  # folders of before this setting heard all that the bands tell
        sound, model = build(SoundConfig, text | older), build(TranscribeConfig, config.get("model", {}))
        check(sound, model)
        rate = config.get("rate")
        if not isinstance(rate, int) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise TenorError(f"config.json says at which rate the model hears, {LOWEST_RATE:,} to {HIGHEST_RATE:,} samples a second; it says {rate!r}. Copy the model folder again.")
        symbols = _symbols(stored.tokenizer)
        fitted = fitting(lambda: speech_network(sound.bands * sound.stack, len(symbols), model), stored.weights)
        made = cls(symbols, sound, model, rate, device, precision)
        made.take(fitted)
        return made


def _symbols(stored: str) -> Symbols:
    try:
        value = json.loads(stored)
        kind, names = value["kind"], value["names"]
    except (ValueError, TypeError, KeyError) as error:
        raise TenorError(f"tokenizer.json holds no symbols of a model that transcribes ({error}). Copy the model folder again.") from error
    if kind not in ("word", "char") or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise TenorError(f"tokenizer.json must name words or characters; its kind is {kind!r}. Copy the model folder again.")
    return Symbols(kind, names)


def _numbers(samples: np.ndarray) -> np.ndarray:
    return of_whole(samples) if samples.dtype == np.int16 else samples


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of like length together, the longest first, as many as memory should hold."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > _AT_ONCE or len(found[-1]) == 64:
            found.append([])
        found[-1].append(row)
    return found
