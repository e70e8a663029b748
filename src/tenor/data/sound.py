"""A WAV file to samples: PCM of 8, 16, 24 or 32 bits, 8 to 48 kHz, mono or stereo."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tenor.errors import TenorError, nearest, plural

LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
MOST_SECONDS = 600  # of one sound: its frames are read in one pass
_CONVERT = "ffmpeg -i FILE -ac 1 -ar 16000 -c:a pcm_s16le NEW.wav makes one that can be read."


class Sound(NamedTuple):
    """samples: [N] float32 from -1 to 1, stereo as the mean of both; rate: samples a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def read_wav(path: Path) -> Sound:
    """Raises TenorError: no such file, or as `decode_wav`."""
    with _opened(path) as f:
        return decode_wav(f, str(path))


def check_wav(path: Path) -> None:
    """Look at the header alone. Raises TenorError as `read_wav`."""
    with _opened(path) as f, _begun(f, str(path)):
        pass


def _opened(path: Path) -> IO[bytes]:
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise TenorError(f"No such file: {path}{nearest(path.name, beside)}" if not path.is_dir() else f"A sound is a WAV file; {path} is a folder.")
    return open(path, "rb")


def decode_wav(file: IO[bytes], name: str) -> Sound:
    """The sound of an open WAV file; its length is looked at before its samples are read.

    Raises:
        TenorError: no WAV of PCM, a rate, width or number of channels that is not read, no samples, more than MOST_SECONDS, or fewer samples than its header says.
    """
    with _begun(file, name) as f:
        data = f.readframes(f.getnframes())
        return Sound(_numbers(data, f.getsampwidth()).reshape(-1, f.getnchannels()).mean(1, dtype=np.float32), f.getframerate())


class _Reader(wave.Wave_read):
    """Python 3.11 refuses the extensible header, which ffmpeg writes for 24 bits, though the samples behind it are the same; 3.12 reads it."""

    def _read_fmt_chunk(self, chunk: Any) -> None:
        head = chunk.read(40)
        if head[:2] == b"\xfe\xff" and head[24:26] == b"\x01\x00":  # extensible, and what follows is PCM
            head = b"\x01\x00" + head[2:]
        super()._read_fmt_chunk(io.BytesIO(head))  # type: ignore[misc]


@contextmanager
def _begun(file: IO[bytes], name: str) -> Iterator[wave.Wave_read]:
    """A WAV file whose header is read, and whose samples are there. Raises TenorError as decode_wav."""
    try:
        with _Reader(file) as f:
            channels, width, frames = f.getnchannels(), f.getsampwidth(), f.getnframes()
            _check(name, f.getframerate(), channels, width, frames)
            start = file.tell()
            there = (file.seek(0, io.SEEK_END) - start) // (channels * width)
            file.seek(start)
            if there < frames:
                raise TenorError(f"{name} was cut: its header says {plural(frames, 'sample')}, and {there:,} are there. Copy or write it again.")
            yield f
    except (wave.Error, EOFError) as error:
        raise TenorError(f"{name} is no WAV file of PCM samples ({str(error) or 'it ends too early'}). {_CONVERT}") from error


def decode_bytes(data: bytes, rate: int, name: str) -> Sound:
    """Bytes of a table: a whole WAV file, or bare samples of 16 bits at `rate`. Raises TenorError: as decode_wav."""
    if data[:4] == b"RIFF":
        return decode_wav(io.BytesIO(data), name)
    _check(name, rate, 1, 2, len(data) // 2)
    return Sound(_numbers(data[: len(data) // 2 * 2], 2), rate)


def resampled(sound: Sound, rate: int) -> np.ndarray:
    """[M] float32 at another rate."""
    return changed_rate(sound.samples, rate, sound.rate)


def changed_rate(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """[N] float32 -> about [N * up / down]: what was above the lower of both rates' halves is filtered out."""
    from scipy.signal import resample_poly

    common = math.gcd(up, down)  # resample_poly divides by it too, and would take a filter of the undivided ones as it is: 40 to 36 lost all above an eighth of the rate
    up, down = up // common, down // common
    if up == down:
        return samples
    found: np.ndarray = resample_poly(samples, up, down, window=_filter(max(up, down)))
    return found.astype(np.float32)


@lru_cache(64)
def _filter(most: int) -> np.ndarray:
    """resample_poly's own low pass, designed once."""
    from scipy.signal import firwin

    found: np.ndarray = firwin(20 * most + 1, 1 / most, window=("kaiser", 5.0))
    return found.astype(np.float32)


def _check(name: str, rate: int, channels: int, width: int, frames: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise TenorError(f"A sound has {LOWEST_RATE:,} to {HIGHEST_RATE:,} samples a second; {name} has {rate:,}. {_CONVERT}")
    if channels not in (1, 2):
        raise TenorError(f"A sound is mono or stereo; {name} has {channels} channels. {_CONVERT}")
    if width not in (1, 2, 3, 4):
        raise TenorError(f"A sample has 8, 16, 24 or 32 bits; in {name} it has {8 * width}. {_CONVERT}")
    if frames == 0:
        raise TenorError(f"{name} holds no samples. Record it again, or leave it out.")
    if frames > MOST_SECONDS * rate:
        raise TenorError(f"A sound is at most {MOST_SECONDS // 60} minutes long; {name} has {_long(frames / rate)}. Cut it into shorter files, best where nobody speaks.")


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _numbers(data: bytes, width: int) -> np.ndarray:
    """Little-endian whole numbers (of 8 bits: unsigned, as WAV has them) -> float32 from -1 to 1."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    whole = np.zeros((len(raw), 4), np.uint8)
    whole[:, 4 - width :] = raw  # the highest bytes of 32 bits
    return whole.view("<i4")[:, 0].astype(np.float32) / 2**31
