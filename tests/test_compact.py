"""Weights in few bytes: how exact they come back, and that nothing else changes."""

import numpy as np
import pytest

from tenor.compact import SCALE, packed, unpacked
from tenor.errors import TenorError

RNG = np.random.default_rng(5)
WEIGHTS = {
    "table": (RNG.normal(size=(7, 5)) * 10.0 ** RNG.integers(-6, 3, (7, 1))).astype(np.float32),  # rows of very different sizes
    "bias": RNG.normal(size=6).astype(np.float32),
    "pairs": np.array([0, 5, 2**32 - 1], np.int64),
}


def test_8_bits_are_off_by_half_a_step_of_their_own_row():
    stored = packed(WEIGHTS, "int8")
    assert stored["table"].dtype == np.int8 and stored["table" + SCALE].shape == (7,)
    again = unpacked(stored, "int8")
    assert again["table"].dtype == np.float32
    greatest = np.abs(WEIGHTS["table"]).max(1, keepdims=True)
    assert (np.abs(again["table"] - WEIGHTS["table"]) <= greatest / 127 * 0.5001).all()
    assert (np.abs(stored["table"]).max(1) == 127).all()  # every row uses all of its range
    np.testing.assert_array_equal(again["bias"], WEIGHTS["bias"])


def test_bfloat16_rounds_to_the_nearest_and_ties_to_even():
    torch = pytest.importorskip("torch")
    weight = np.concatenate([RNG.normal(size=1000), [1.00390625, 1.01171875, 0.0, -0.0, -3e-39]]).astype(np.float32)  # two ties
    again = unpacked(packed({"w": weight}, "bfloat16"), "bfloat16")["w"]
    np.testing.assert_array_equal(again, torch.from_numpy(weight).to(torch.bfloat16).float().numpy())
    assert packed({"w": weight}, "bfloat16")["w"].itemsize == 2


def test_whole_numbers_come_back_as_they_were():
    for kind in ("float32", "int8", "bfloat16"):
        again = unpacked(packed(WEIGHTS, kind), kind)
        assert again.keys() == WEIGHTS.keys()
        assert again["pairs"].dtype == np.int64
        np.testing.assert_array_equal(again["pairs"], WEIGHTS["pairs"])
    assert packed(WEIGHTS, "int8")["pairs"].itemsize == 4
    for far in ([0, 2**32], [-1, 3]):
        kept = packed({"pairs": np.array(far)}, "int8")["pairs"]
        assert kept.tolist() == far and kept.dtype == np.int64


def test_packing_what_was_packed_changes_nothing():
    once = packed(WEIGHTS, "int8")
    twice = packed(unpacked(once, "int8"), "int8")
    np.testing.assert_array_equal(twice["table"], once["table"])
    np.testing.assert_allclose(twice["table" + SCALE], once["table" + SCALE], rtol=1e-6)


def test_rows_of_zeros_and_no_rows_at_all():
    stored = packed({"w": np.zeros((3, 2), np.float32), "none": np.zeros((0, 2), np.float32), "pairs": np.zeros(0, np.int64)}, "int8")
    again = unpacked(stored, "int8")
    assert again["w"].tolist() == [[0, 0]] * 3 and again["none"].shape == (0, 2) and again["pairs"].dtype == np.int64


def test_mistakes_are_said():
    with pytest.raises(TenorError, match="did you mean 'int8'"):
        packed({}, "int4")
    with pytest.raises(TenorError, match="float32, bfloat16, int8; got None"):
        unpacked({}, None)
    for scale in ({}, {"w" + SCALE: np.ones(4, np.float32)}):
        with pytest.raises(TenorError, match="a scale for each of its rows"):
            unpacked({"w": np.ones((3, 2), np.int8), **scale}, "int8")
