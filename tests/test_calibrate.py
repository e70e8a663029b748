"""The calibration error by hand and by chance; the temperature that mends it, and what it must never change."""

import numpy as np
import pytest

from conftest import order_texts
from tenor.models.classify import shares
from tenor.pipelines.classification import Pipeline
from tenor.results.calibrate import RANGE, best_temperature, calibrate, expected_error
from tenor.results.report import calibrated


def two(top, right):
    """Probabilities of two labels with this top probability, and targets that make the row right or wrong."""
    top = np.array(top)
    return np.stack([top, 1 - top], 1), np.where(right, 0, 1)


def test_the_error_by_hand():
    """15 bins of 1/15: 0.81 and 0.86 share the bin (0.8, 0.8667], 0.95 is in the last but one, 1 in the last."""
    shares_, targets = two([0.81, 0.86, 0.92, 1.0], [True, False, True, False])
    wanted = (abs(0.81 + 0.86 - 1) + abs(0.92 - 1) + abs(1.0 - 0)) / 4
    assert expected_error(shares_, targets) == pytest.approx(wanted)
    assert expected_error(*two([0.81, 0.86], [True, True])) == pytest.approx((0.19 + 0.14) / 2)
    assert expected_error(*two([0.8, 0.81], [True, False])) == pytest.approx((0.2 + 0.81) / 2)  # a bin holds its upper end
    assert expected_error(*two([1.0, 1.0], [True, True])) == 0
    assert expected_error(np.zeros((0, 2)), np.zeros(0, int)) == 0


def drawn(rows, labels, seed):
    """Logits, and targets drawn by the very probabilities that these logits stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(rows, 1 if labels == 2 else labels))
    upto = np.cumsum(shares(logits), 1)
    return logits, (rng.random((rows, 1)) > upto).sum(1).clip(0, labels - 1)


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(labels, truth):
    """Logits that are too sure by a factor get that factor as their temperature, and then are as good as they were before."""
    logits, targets = drawn(20_000, labels, 7)
    found = best_temperature(logits * truth, targets)
    assert found == pytest.approx(truth, rel=0.04)  # 20,000 rows fix it to 0.01 (one standard error)
    assert expected_error(shares(logits * truth, found), targets) < 0.012
    if truth != 1.0:
        assert expected_error(shares(logits * truth), targets) > 0.05


@pytest.mark.parametrize("labels", [2, 4])
def test_no_label_changes(labels):
    rng = np.random.default_rng(3)
    logits = np.concatenate([rng.normal(scale=s, size=(500, 1 if labels == 2 else labels)).astype(np.float32) for s in (1e-4, 1, 100, 1e4)]).astype(np.float64)
    before = shares(logits)
    for temperature in (*RANGE, 0.7, 1.6):
        after = shares(logits, temperature)
        np.testing.assert_array_equal(after.argmax(1), before.argmax(1))
        np.testing.assert_allclose(after.sum(1), 1)
    np.testing.assert_array_equal(shares(logits, 1.0), before)


def test_few_rows_that_are_all_right_do_not_make_it_boundless():
    logits = np.array([[3.0], [-2.0], [4.0]] * 7)
    found = best_temperature(logits, (logits[:, 0] > 0).astype(int))
    assert 0.6 < found < 1
    wrong = (logits[:, 0] < 0).astype(int)
    assert 1.5 < best_temperature(logits, wrong) < best_temperature(np.tile(logits, (50, 1)), np.tile(wrong, 50))  # all wrong: hardly to be believed


def test_a_classifier_is_calibrated_in_place(pipeline):
    stored = pipeline.stored({}, {}, [])
    mine = Pipeline.rebuilt(stored, precision="float32")
    texts, targets = order_texts(300, 77)
    before, _ = mine.probabilities(texts)
    found = calibrate(mine, texts, targets)
    after, _ = mine.probabilities(texts)
    assert found["rows"] == 300 and mine.temperature == found["temperature"] != 1
    assert found["expected_error_before"] == expected_error(before, targets) and found["expected_error"] == expected_error(after, targets)
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    logits, _ = mine.logits(texts)
    np.testing.assert_allclose(after[:, 1], 1 / (1 + np.exp(-logits[:, 0] / mine.temperature)))
    assert calibrate(mine, [], np.zeros(0, int)) == {} and mine.temperature == found["temperature"]
    again = Pipeline.rebuilt(mine.stored({}, {}, []), precision="float32")
    np.testing.assert_array_equal(again.probabilities(texts)[0], after)


def test_what_the_card_says():
    assert "not calibrated" in calibrated(None, None) and "not calibrated" in calibrated({"accuracy": 1}, {})
    said = calibrated({"calibration_error": 0.0123}, {"temperature": 1.234, "rows": 1900})
    assert "1.23" in said and "1,900 validation rows" in said and "0.012" in said and "15 equal bins" in said
