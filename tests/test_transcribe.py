"""Models that transcribe: what they learn, that decoding sums what it says, that stopping costs nothing, and what they refuse."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sounds import recordings
from tenor import TenorError
from tenor.config import SoundConfig, TranscribeConfig
from tenor.data.frames import steps_of
from tenor.data.joined import Lesson, Voices, batch_of, heard, join, needed, unchanged
from tenor.data.recordings import Symbols
from tenor.models.transcribe import SpeechNetwork, beam_search, distance, greedy

SOUND = SoundConfig(bands=10, stack=2)


# Decoding ---------------------------------------------------------------------------------------------------------------


def collapsed(way: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(s for s, _ in itertools.groupby(way) if s)


def all_sums(logs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of everything that can be said, way by way."""
    sums: dict[tuple[int, ...], float] = {}
    for way in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        sums[collapsed(way)] = sums.get(collapsed(way), 0.0) + math.exp(sum(logs[t, s] for t, s in enumerate(way)))
    return sums


def random_logs(seed: int, steps: int, symbols: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(steps, symbols)) * 1.5
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("steps", "symbols"), [(1, 3), (4, 3), (5, 4), (6, 3)])
def test_a_wide_beam_sums_over_all_ways(seed, steps, symbols):
    logs = random_logs(seed, steps, symbols)
    sums = all_sums(logs)
    found = beam_search(logs, width=10**6, least=0)
    assert {tuple(h.symbols) for h in found} == set(sums)
    for h in found:
        assert math.exp(h.log) == pytest.approx(sums[tuple(h.symbols)], rel=1e-9)
    assert [h.log for h in found] == sorted((h.log for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(8))
def test_a_narrow_beam_counts_no_way_twice(seed):
    logs = random_logs(seed, 6, 3)
    sums = all_sums(logs)
    found = beam_search(logs, width=4)
    assert len(found) == 4
    assert all(h.log <= math.log(sums[tuple(h.symbols)]) + 1e-9 for h in found)
    assert sums[tuple(found[0].symbols)] > 0.5 * max(sums.values())


def test_greedy_takes_the_best_way_within_each_row():
    logs = torch.from_numpy(np.stack([random_logs(s, 7, 4) for s in range(5)], 1))
    lengths = torch.tensor([7, 3, 1, 5, 7])
    ways = logs.argmax(2)
    assert greedy(logs, lengths) == [list(collapsed(tuple(ways[:n, b].tolist()))) for b, n in enumerate(lengths.tolist())]


def test_the_loss_is_the_sum_over_all_ways_and_padding_changes_nothing():
    torch.manual_seed(0)
    network = SpeechNetwork(6, 4, TranscribeConfig(hidden=5, cell="gru")).eval()
    rng = np.random.default_rng(0)
    rows, targets = [rng.normal(size=(n, 6)).astype(np.float32) for n in (4, 6, 3)], [[1, 1], [3], [2, 1]]
    with torch.no_grad():
        together = network.scores(*batch_of(rows, targets))
        losses = []
        for row, target in zip(rows, targets, strict=True):
            alone = batch_of([row], [target])
            sums = all_sums(network(alone.steps, alone.lengths)[:, 0].double().numpy())
            losses.append(-math.log(sums[tuple(target)]) / len(target))
            assert float(network.scores(*alone).loss) == pytest.approx(losses[-1], rel=1e-4)
        assert float(together.loss) == pytest.approx(np.mean(losses), rel=1e-4)
        assert (together.rows, together.tokens) == (3, 13)


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_distance_is_the_fewest_edits(a, b):
    @cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(fewest(i - 1, j) + 1, fewest(i, j - 1) + 1, fewest(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    assert distance(a, b) == fewest(len(a), len(b))


# Joining ----------------------------------------------------------------------------------------------------------------


def test_an_epoch_hears_each_recording_once_in_strings_of_one_speaker():
    rows = recordings(40, 0)
    lesson = Lesson(rows, Symbols.of([r.text for r in rows]), SoundConfig(join=5, bands=10, stack=2), 8000, 4, 7)
    plans = [lesson.plan(e) for e in range(3)]
    for plan in plans:
        used = [s for _, _, batch in plan for s in batch]
        assert sorted(i for s in used for i in s) == list(range(40))
        assert all(len({rows[i].speaker for i in s}) == 1 and len(s) <= 5 for s in used)
    assert len({len(p) for p in plans}) == 1 and plans[0] != plans[1] and plans == [lesson.plan(e) for e in range(3)]
    one, again = lesson.batch(plans[1][2]), lesson.batch(plans[1][2])
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert Voices(rows, np.random.default_rng(0), 8, 0.0, 3).counts["voice 0"][:-1] and min(Voices(rows, np.random.default_rng(0), 8, 0.0, 3).counts["voice 0"][:-1]) >= 3


def test_joined_is_one_after_another():
    rows = recordings(3, 1)
    found = join(rows, np.random.default_rng(0), SoundConfig(silence=0.0, level=0.0), 8000)
    assert found.text == "low mid high"
    np.testing.assert_allclose(found.samples * 32768, np.concatenate([r.samples for r in rows]), atol=0.01)
    apart = join(rows, np.random.default_rng(0), SoundConfig(silence=0.5), 8000)
    assert len(found.samples) < len(apart.samples) < len(found.samples) + 4 * 4000
    slow = join(rows, np.random.default_rng(0), SoundConfig(silence=0.0), 8000, speed=20)
    assert len(slow.samples) == pytest.approx(2 * len(found.samples), abs=6)


def test_however_fast_there_are_steps_for_all_symbols():
    rows = recordings(6, 2, (0.05, 0.06))
    config = SoundConfig(bands=10, stack=2, silence=0.0, speed=0.5)
    for seed in range(20):
        assert len(heard(rows, np.random.default_rng(seed), config, 8000, 25)) >= 25
    assert needed([1, 1, 2, 2, 2]) == 8
    assert sum(len(b.lengths) for b in unchanged(rows, Symbols("word", ["high", "low", "mid"]), SoundConfig(join=3), 8000, 0)) > 6
    assert steps_of(400, SOUND, 8000) == 2
