"""From WAV files to frames: every width and rate gives the same sound, frames are what their definition says, and what cannot be read is said."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct, idct

from sounds import write_wav
from tenor import TenorError
from tenor.config import SoundConfig
from tenor.data.frames import FLOOR, features, log_mel, mel_filters, samples_of, steps_of, without_pitch
from tenor.data.sound import changed_rate, check_wav, decode_bytes, read_wav, resampled
from tenor.data.views import AS_IT_IS, seen, steps_in, views_of


def sine(hertz: float, rate: int, seconds: float = 0.3) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_width_gives_the_same_samples(tmp_path, width, channels):
    left, right = sine(500, 8000), sine(900, 8000)
    given_ = left if channels == 1 else np.stack((left, right), 1)
    found = read_wav(write_wav(tmp_path / "a.wav", given_, width=width, channels=channels))
    assert found.rate == 8000 and found.samples.dtype == np.float32
    np.testing.assert_allclose(found.samples, left if channels == 1 else (left + right) / 2, atol=max(1.5 / 2 ** (8 * width - 1), 1e-6))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_a_sine_stays_one_at_another_rate(tmp_path, rate):
    read = read_wav(write_wav(tmp_path / "a.wav", sine(700, rate) + sine(5500, rate) * (rate >= 16000), rate))
    found = resampled(read, 8000)
    inner = slice(200, -200)  # at its ends the filter sees the silence around
    np.testing.assert_allclose(found[inner], sine(700, 8000)[: len(found)][inner], atol=0.01)  # 5,500 Hz has no place there


@given(st.integers(30, 50), st.floats(100, 2400))
def test_another_tempo_keeps_what_is_below_both_halves(speed, hertz):
    """Numbers with a common divisor too: 40 to 36 once lost all above an eighth of the rate."""
    found = changed_rate(sine(hertz, 8000).astype(np.float32), 40, speed)
    inner = slice(300, -300)
    np.testing.assert_allclose(found[inner], sine(hertz * speed / 40, 8000, 1.0)[: len(found)][inner], atol=0.01)


def header(rate=8000, channels=1, bits=16, kind=1, samples=100, there=None) -> bytes:
    size = samples * channels * bits // 8
    data = b"\0" * (size if there is None else there)
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data


def extensible(plain: bytes, kind: int = 1) -> bytes:
    """A WAV file with the header that ffmpeg writes for 24 bits."""
    form = struct.pack("<H", 0xFFFE) + plain[22:36] + struct.pack("<H", 22) + plain[34:36] + struct.pack("<IH", 3, kind) + bytes.fromhex("000000001000800000aa00389b71")
    return b"RIFF" + struct.pack("<I", len(plain) + 16) + b"WAVEfmt " + struct.pack("<I", len(form)) + form + plain[36:]


def test_the_extensible_header_is_read(tmp_path):
    plain = write_wav(tmp_path / "a.wav", np.stack((sine(500, 8000), sine(900, 8000)), 1), width=3, channels=2)
    (tmp_path / "b.wav").write_bytes(extensible(plain.read_bytes()))
    found, same = read_wav(tmp_path / "b.wav"), read_wav(plain)
    assert found.rate == 8000 and found.samples.any() and np.array_equal(found.samples, same.samples)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ID3\x03 a song", "is no WAV file of PCM samples"),
        (b"", r"is no WAV file of PCM samples \(it ends too early\)"),
        (b"RIFF\x10", "is no WAV file of PCM samples"),
        (header(kind=3, bits=32), "is no WAV file of PCM samples"),  # floats
        (extensible(header(bits=32), kind=3), "is no WAV file of PCM samples"),
        (header(samples=0), "holds no samples"),
        (header(samples=8000 * 7200, there=0), "at most 10 minutes long; .* has 2.0 hours"),
        (header(rate=4000), "8,000 to 48,000 samples a second; .* has 4,000"),
        (header(rate=96_000), "has 96,000"),
        (header(channels=6), "mono or stereo; .* has 6 channels"),
        (header(samples=100, there=90), "was cut: its header says 100 samples, and 45 are there"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, data, said):
    (tmp_path / "a.wav").write_bytes(data)
    for read in (read_wav, check_wav):
        with pytest.raises(TenorError, match=said):
            read(tmp_path / "a.wav")
    with pytest.raises(TenorError, match=r"did you mean 'a.wav'"):
        read_wav(tmp_path / "aa.wav")


def test_bytes_of_a_table_are_a_wav_or_bare_samples():
    assert len(decode_bytes(header(rate=16_000), 8000, "x").samples) == 100
    bare = decode_bytes(np.array([0, 16384, -32768], "<i2").tobytes(), 8000, "x")
    assert bare.rate == 8000 and bare.samples.tolist() == [0.0, 0.5, -1.0]
    with pytest.raises(TenorError, match="x holds no samples"):
        decode_bytes(b"", 8000, "x")


def slow_log_mel(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """The definition, a sum at a time."""
    window, hop = round(0.025 * rate), round(0.01 * rate)
    points = 2 ** math.ceil(math.log2(window))
    top = 2595 * math.log10(1 + rate / 2 / 700)
    low = 2595 * math.log10(1 + 50 / 700)
    corners = [700 * (10 ** ((low + (top - low) * i / (bands + 1)) / 2595) - 1) for i in range(bands + 2)]
    mels = [2595 * math.log10(1 + c / 700) for c in corners]
    out = []
    for start in range(0, len(samples) - window + 1, hop):
        piece = [samples[start + n] * (0.5 - 0.5 * math.cos(2 * math.pi * n / window)) for n in range(window)]
        power = []
        for k in range(points // 2 + 1):
            real = sum(p * math.cos(2 * math.pi * k * n / points) for n, p in enumerate(piece))
            imaginary = sum(p * math.sin(2 * math.pi * k * n / points) for n, p in enumerate(piece))
            power.append(real**2 + imaginary**2)
        row = []
        for b in range(1, bands + 1):
            energy = 0.0
            for k, p in enumerate(power):
                m = 2595 * math.log10(1 + k * rate / points / 700)
                rising, falling = (m - mels[b - 1]) / (mels[b] - mels[b - 1]), (mels[b + 1] - m) / (mels[b + 1] - mels[b])
                energy += p * max(0.0, min(rising, falling))
            row.append(energy)
        out.append(row)
    energies = np.array(out)
    return np.log(np.maximum(energies, FLOOR * energies.max()))


@pytest.mark.parametrize(("rate", "bands"), [(8000, 5), (16_000, 7)])
def test_frames_are_what_their_definition_says(rate, bands):
    samples = np.random.default_rng(0).normal(size=round(0.025 * rate) + 2 * round(0.01 * rate) + 3).astype(np.float32)
    found = log_mel(samples, rate, bands)
    assert found.shape == (3, bands)
    np.testing.assert_allclose(found, slow_log_mel(samples, rate, bands), rtol=1e-4, atol=1e-4)


def test_a_tone_is_loudest_in_its_band_and_a_warp_moves_it():
    filters = mel_filters(8000, 40)
    for hertz in (500, 1250, 3000):
        found = log_mel(sine(hertz, 8000).astype(np.float32), 8000, 40).mean(0)
        assert found.argmax() == filters[round(hertz / 8000 * 256)].argmax()
        assert [int(log_mel(sine(hertz, 8000).astype(np.float32), 8000, 40, w).mean(0).argmax() > found.argmax()) for w in (0.8, 1.2)] == [0, 1]
    assert all((mel_filters(8000, 40, w).sum(0) > 0).all() for w in (0.8, 1.0, 1.2))


def test_smooth_frames_keep_the_first_terms_of_the_cosine_transform():
    frames = np.random.default_rng(3).normal(size=(7, 24)).astype(np.float32)
    for kept in (1, 5, 24, 30):
        terms = dct(frames, norm="ortho")
        terms[:, kept:] = 0
        np.testing.assert_allclose(without_pitch(frames, kept), idct(terms, norm="ortho"), atol=1e-5)
    sound, config = sine(900, 8000, 0.5) + 0.01 * np.random.default_rng(4).normal(size=4000), SoundConfig(cepstra=5, stack=1)
    terms = dct(features(sound, config, 8000), norm="ortho")
    assert np.abs(terms[:, :5]).max() > 1 and np.abs(terms[:, 5:]).max() < 1e-4  # what a network reads has no others


def test_views_are_of_other_voices_and_tempos():
    """Of a tone: its band as that of a higher or lower one, its length as of a slower or faster one; the pitch moves with the tempo."""
    config = SoundConfig(warp=0.2, speed=0.2, stack=1)
    tone = sine(1000, 8000, 0.5)
    views = views_of(len(tone), config, 8000)
    found = [seen(tone, view, config, 8000) for view in views]
    assert views[0] == AS_IT_IS and np.array_equal(found[0], features(tone, config, 8000))
    assert steps_in(views, len(tone), config, 8000) == 9 * max(map(len, found))
    changes = [(tempo, warp) for tempo in (1, 34 / 40, 46 / 40) for warp in (1, 0.84, 1.16)]
    for view, (tempo, warp) in zip(found, changes, strict=True):
        alike = features(sine(1000 * warp * tempo, 8000, 0.5 / tempo), config, 8000)
        assert abs(len(view) - len(alike)) <= 1 and abs(int(view[len(view) // 2].argmax()) - int(alike[len(alike) // 2].argmax())) <= 1
    plain, other = SoundConfig(warp=0.005, speed=0.0), SoundConfig(warp=0.0)
    assert [len(views_of(*given, 8000)) for given in ((8000, plain), (8000, other), (60 * 8000, config), (60 * 8000 + 1, config))] == [1, 3, 9, 1]


def test_level_and_silence():
    samples = np.random.default_rng(1).normal(size=4000).astype(np.float32)
    config = SoundConfig()
    np.testing.assert_allclose(features(samples * 1e-3, config, 8000), features(samples, config, 8000), atol=1e-4)
    assert np.abs(features(np.zeros(4000, np.float32), config, 8000)).max() < 1e-3  # no number is divided by nothing


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 4), st.sampled_from([8000, 16_000]))
def test_steps_are_counted_before_they_are_made(samples, stack, rate):
    config = SoundConfig(bands=3, stack=stack)
    steps = len(features(np.zeros(samples, np.float32), config, rate))
    assert steps == steps_of(samples, config, rate)
    least = samples_of(steps, config, rate)
    assert steps_of(least, config, rate) == steps and (not least or steps_of(least - 1, config, rate) == steps - 1)
