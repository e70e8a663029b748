"""Sounds that tests make: words that are tones, as samples and as WAV files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from tenor.data.recordings import Recording, whole

TONES = {"low": 400.0, "mid": 1000.0, "high": 2300.0}
RATE = 8000


def tone(word: str, seconds: float, rng: np.random.Generator, rate: int = RATE) -> np.ndarray:
    """[N] float32: a tone with a soft start and end, a little off its pitch, over faint noise."""
    n = int(seconds * rate)
    t = np.arange(n) / rate
    wave_ = np.sin(2 * np.pi * TONES[word] * rng.uniform(0.97, 1.03) * t) * np.sin(np.pi * np.arange(n) / n)
    return (0.3 * wave_ + 0.003 * rng.standard_normal(n)).astype(np.float32)


def recordings(count: int, seed: int, seconds: tuple[float, float] = (0.12, 0.2)) -> list[Recording]:
    """Tones of two speakers, as many of each word as can be."""
    rng = np.random.default_rng(seed)
    words = [list(TONES)[i % len(TONES)] for i in range(count)]
    return [Recording(whole(tone(w, rng.uniform(*seconds), rng)), w, f"voice {i % 2}", None, f"{i}.wav") for i, w in enumerate(words)]


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE, width: int = 2, channels: int = 1) -> Path:
    """samples: [N] or [N, channels] from -1 to 1."""
    numbers = np.rint(np.asarray(samples, np.float64) * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        data = (numbers + 128).astype(np.uint8).tobytes()
    else:
        data = numbers.astype("<i8").reshape(-1, 1).view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as f:
        f.setnchannels(channels)
        f.setsampwidth(width)
        f.setframerate(rate)
        f.writeframes(data)
    return path
