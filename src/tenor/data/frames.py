"""Samples to log-mel frames: how loud each band of the voice is, a hundred times a second."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tenor.config import SoundConfig

WINDOW, HOP = 0.025, 0.010  # seconds: a window holds two periods of a deep voice; the step is speech recognition's usual one
FLOOR = 1e-6  # of the loudest band in the sound: what is 60 dB below it counts as silence, at any level
LOUD = 6.9  # nats below the loudest frame, which are 30 dB
SHORT = 30  # frames
EDGE = 0.1  # seconds: digits cut close had 0.925 with 0.05 or 0.1 where they had 0.88 without (a network that had heard all amounts)
SPREAD = 3.0  # nats: about the deviation of a band over speech and silence
_LOWEST = 50.0  # Hz


def log_mel(samples: np.ndarray, rate: int, bands: int, warp: float = 1.0) -> np.ndarray:
    """[N] samples -> [T, bands] float32: logarithms of the power in bands of equal width on the mel scale.

    T is 1 + (N - window) // hop; what is shorter than a window is one frame.

    Args:
        samples, rate: the sound.
        bands: how many.
        warp: frequencies are taken this many times as high, as of a shorter vocal tract (Jaitly and Hinton 2013); 1: as they are.
    """
    window, hop = round(WINDOW * rate), round(HOP * rate)
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    pieces = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]  # [T, window]
    spectrum = np.fft.rfft(pieces * _hann(window), _points(window))  # [T, bins]
    power = spectrum.real**2 + spectrum.imag**2
    energy = power.astype(np.float32) @ mel_filters(rate, bands, warp)  # [T, bands]
    found: np.ndarray = np.log(np.maximum(energy, max(FLOOR * float(energy.max()), 1e-12)))
    return found


def without_pitch(frames: np.ndarray, kept: int) -> np.ndarray:
    """[T, bands] -> the same, smooth over the bands: of their cosine transform the first `kept` terms are left, as in MFCCs (Davis and Mermelstein 1980, IEEE ASSP 28(4)).

    What changes faster from band to band are a voice's harmonics, which a network learns with the voices that it hears.
    """
    found: np.ndarray = frames @ _smooth(frames.shape[1], kept)
    return found


def normalised(frames: np.ndarray) -> np.ndarray:
    """Frames about 0, whatever the level and the microphone: less the mean of each band over the loud frames, so that silence around the speech counts for nothing.

    In a short sound that mean is mostly the word itself, and little of it is taken away: of so many frames as SHORT a half. The rest is the mean over all bands.
    """
    loudness = frames.max(1)
    loud = frames[loudness > loudness.max() - LOUD]
    level, own = loud.mean(), loud.mean(0)
    found: np.ndarray = (frames - level - (own - level) * (len(loud) / (len(loud) + SHORT))) / SPREAD
    return found


def stacked(frames: np.ndarray, stack: int) -> np.ndarray:
    """[T, F] -> [ceil(T / stack), stack * F]: so many frames side by side are one step of the network; zeros fill the last one."""
    steps = -(-len(frames) // stack)
    found: np.ndarray = np.pad(frames, ((0, steps * stack - len(frames)), (0, 0))).reshape(steps, -1)
    return found


def edged(samples: np.ndarray, rate: int) -> np.ndarray:
    """With EDGE of silence before and after, so that no word begins or ends with the sound."""
    return np.pad(samples, round(EDGE * rate))


def features(samples: np.ndarray, config: SoundConfig, rate: int, warp: float = 1.0) -> np.ndarray:
    """[N] samples -> [steps, stack * bands]: what a network reads. warp: as of log_mel."""
    return stacked(frames_of(edged(samples, rate), config, rate, warp), config.stack)


def frames_of(samples: np.ndarray, config: SoundConfig, rate: int, warp: float = 1.0) -> np.ndarray:
    """[N] samples -> [T, bands]"""
    return normalised(without_pitch(log_mel(samples, rate, config.bands, warp), config.cepstra))


def steps_of(samples: int, config: SoundConfig, rate: int) -> int:
    """How many steps `features` makes of so many samples."""
    window, hop = round(WINDOW * rate), round(HOP * rate)
    return -(-(1 + max(0, samples + 2 * round(EDGE * rate) - window) // hop) // config.stack)


def samples_of(steps: int, config: SoundConfig, rate: int) -> int:
    """How many samples make at least so many steps."""
    return max(0, round(WINDOW * rate) + max(0, steps - 1) * config.stack * round(HOP * rate) - 2 * round(EDGE * rate))


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """O'Shaughnessy's scale, as HTK has it."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


@lru_cache(256)
def mel_filters(rate: int, bands: int, warp: float = 1.0) -> np.ndarray:
    """[bins, bands] float32: triangles whose corners are the neighbours' centres, equally far apart on the mel scale."""
    top = rate / 2
    hertz = np.arange(_points(round(WINDOW * rate)) // 2 + 1) * (rate / _points(round(WINDOW * rate)))
    edge = 0.85 * top / max(warp, 1.0)  # above it the scale bends, so that the top stays the top
    hertz = np.where(hertz < edge, warp * hertz, top - (top - warp * edge) / (top - edge) * (top - hertz))
    places = (mel(hertz) - mel(_LOWEST)) / (mel(top) - mel(_LOWEST)) * (bands + 1)  # centres are at 1, 2, ..., bands
    found: np.ndarray = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(1, bands + 1))).astype(np.float32)
    return found


@lru_cache(8)
def _smooth(bands: int, kept: int) -> np.ndarray:
    """[bands, bands] float32: onto the first terms of the cosine transform (DCT-II, orthonormal)."""
    terms = np.cos(np.pi / bands * np.arange(min(kept, bands))[:, None] * (np.arange(bands) + 0.5))  # [kept, bands]
    terms /= np.linalg.norm(terms, axis=1, keepdims=True)
    found: np.ndarray = (terms.T @ terms).astype(np.float32)
    return found


@lru_cache(8)
def _hann(window: int) -> np.ndarray:
    found: np.ndarray = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    return found


def _points(window: int) -> int:
    """Of the Fourier transform: the next power of two."""
    return 1 << (window - 1).bit_length()
