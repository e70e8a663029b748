"""Metrics against counts made by hand, the comparison of two classifiers, and the linear baseline."""

import numpy as np
import pytest

from tenor.results.baseline import baseline
from tenor.results.evaluate import compare, interval, measure
from tenor.results.report import verdict


def test_two_labels_by_hand():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    targets = np.array([0, 1, 1, 0, 1])
    got = measure(shares, targets, ["neg", "pos"], np.array([10, 50, 51, 150, 900]))
    assert got["rows"] == 5
    assert got["accuracy"] == 3 / 5
    assert got["confusion"] == [[1, 1], [1, 2]]  # rows: the truth
    assert got["calibration_error"] == pytest.approx((2 - 1.8 + 1 - 0.8 + 0.6 + 0.7) / 5)  # two rows at 0.9, right; 0.8 right; 0.6 and 0.7 wrong
    assert got["f1"] == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert got["auc"] == pytest.approx(5 / 6)  # of 6 pairs (pos, neg) one is the wrong way round: 0.4 < 0.7
    assert [(s["tokens"], s["rows"], s["accuracy"]) for s in got["by_length"]] == [("0-50", 2, 1.0), ("51-100", 1, 0.0), ("101-200", 1, 0.0), ("over 400", 1, 1.0)]


def test_more_labels_and_one_that_is_absent():
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])
    got = measure(shares, np.array([0, 1, 1]), ["a", "b", "c"])
    assert got["f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert got["auc"] is None
    assert got["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_wilson_interval():
    """Wilson (1927) by its formula."""
    z, n, p = 1.959964, 200, 0.9
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert interval(180, 200) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert interval(5, 5)[1] == 1.0 and interval(5, 5)[0] < 0.6


def test_a_difference_inside_its_interval_is_a_tie():
    ours, theirs = np.zeros(1000, bool), np.zeros(1000, bool)
    ours[:906], theirs[:900] = True, True
    ours[:20], theirs[900:920] = False, True
    assert compare(ours, theirs)["verdict"] == "worse"
    theirs[900:920] = False
    assert compare(ours, theirs)["verdict"] == "worse"  # 6 more right, 20 more wrong, clear of chance
    ours[:20] = True
    assert compare(ours, theirs)["verdict"] == "better" and compare(ours, theirs)["p"] == pytest.approx(2 / 2**6)  # 6 of 6
    ours[905] = False
    assert compare(ours, theirs)["verdict"] == "tie" and compare(ours, theirs)["p"] == pytest.approx(2 / 2**5)  # 5 of 5
    ours[:5] = False
    assert compare(ours, theirs)["verdict"] == "tie"
    assert compare(ours, theirs)["difference"] == 0
    one = compare(np.array([False]), np.array([True]))
    assert (one["difference"], one["difference_low"]) == (-1, -1) and one["verdict"] == "tie"


def test_baseline_learns_word_pairs():
    texts = ["not good", "good", "bad", "not bad"] * 30
    targets = np.array([0, 1, 0, 1] * 30)
    result, right = baseline(texts, targets, texts[:8], targets[:8])
    assert result["accuracy"] == 1.0 and right.all()


def test_a_tie_whose_interval_is_clear_of_zero_says_why():
    ours, theirs = np.zeros(12, bool), np.zeros(12, bool)
    theirs[:5] = True
    shares = [{"accuracy": float(right.mean())} for right in (ours, theirs)]
    assert "chance alone gives as much with a probability of 0.06" in verdict(*shares, compare(ours, theirs))
    theirs[1:] = False
    assert "chance" not in verdict(*shares, compare(ours, theirs))
