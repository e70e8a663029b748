"""A classifier beside another one is asked only where the first is not sure."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from conftest import fit, order_texts, small
from tenor import store
from tenor.errors import TenorError
from tenor.jobs.info import info
from tenor.models.classify import shares
from tenor.pipelines import classification
from tenor.pipelines.classification import Pipeline
from tenor.training import first

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[["neg", "pos"], ["a", "b", "c"]], ids=["two labels", "three"])
def apart(request) -> tuple[Pipeline, Pipeline]:
    """Two classifiers of other sizes and one vocabulary."""
    texts, targets = order_texts(90, 5)
    targets = targets + (np.arange(90) % 3 == 0) * (len(request.param) == 3)
    return tuple(fit(request.param, texts, targets, texts[:9], targets[:9], small(hidden=h, embedding=h + 1, epochs=3))[0] for h in (5, 8))


def test_only_texts_of_which_the_first_is_not_sure_are_read_by_the_other(apart, monkeypatch):
    one, other = apart
    texts, _ = order_texts(61, 8)
    own, others = (p.logits(texts)[0] for p in apart)
    sureness = shares(own).max(1)
    bound = float(np.sort(sureness)[20])
    asked = sureness <= bound  # the one at the bound is asked
    assert 21 <= asked.sum() < len(texts)
    expected = np.where(asked[:, None], 0.7 * own + 0.3 * others, own)
    read, usual = [], classification.read_logits
    monkeypatch.setattr(classification, "read_logits", lambda network, ids, **kwargs: read.append((network, len(ids))) or usual(network, ids, **kwargs))
    both = one.answering_with(other, 0.3, bound)
    both.temperature = 3.0  # after the bound, which is of the probability before it
    np.testing.assert_allclose(both.logits(texts)[0], expected, atol=1e-5)
    assert read == [(one.network, len(texts)), (other.network, asked.sum())]
    certain = [t for t, more in zip(texts, asked, strict=True) if not more]
    np.testing.assert_allclose(both.logits(certain)[0], own[~asked], atol=1e-5)
    assert read[-1] == (other.network, 0)


def test_a_folder_keeps_the_bound_and_one_of_before_asks_for_every_text(apart, tmp_path):
    one, other = apart
    texts, _ = order_texts(61, 8)
    own, others = (p.logits(texts)[0] for p in apart)
    bound = float(np.median(shares(own).max(1)))
    both = one.answering_with(other, 0.3, bound)
    stored = both.stored({}, {"finished": True}, [])
    read = Pipeline.rebuilt(stored, precision="float32")
    assert read.sure == bound
    np.testing.assert_allclose(read.logits(texts)[0], both.logits(texts)[0], atol=1e-5)
    store.write(tmp_path / "m", stored, {}, False)
    assert f"beside it, for 0.30 of the answer, where the first gives its label less than {bound:.3f} (uncalibrated), " in info(str(tmp_path / "m"))[1][1]
    beside = stored.config["beside"]
    earlier = replace(stored, config=stored.config | {"beside": {k: v for k, v in beside.items() if k != "sure"}})
    np.testing.assert_allclose(Pipeline.rebuilt(earlier, precision="float32").logits(texts)[0], 0.7 * own + 0.3 * others, atol=1e-5)
    for value in (0.0, 1.5, "often"):
        with pytest.raises(TenorError, match="sure"):
            Pipeline.rebuilt(replace(stored, config=stored.config | {"beside": beside | {"sure": value}}))


def loss(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[rows] nats"""
    return np.array([np.log(np.exp(s).sum()) - s[t] for s, t in zip(scores, targets, strict=True)])


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 60), labels=st.integers(2, 3), steps=st.integers(1, 30), most=st.floats(0.0, 1.0))
def test_the_bound_goes_down_while_little_is_lost(seed, rows, labels, steps, most):
    rng = np.random.default_rng(seed)
    alone = rng.integers(-steps, steps, (rows, labels)) / steps * 3.0  # some are equally sure
    together, targets = alone + rng.normal(0, 1, alone.shape), rng.integers(0, labels, rows)
    sure = np.round(softmax(alone, 1).max(1), 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first, "LEAST_ROWS", 1)
        patch.setattr(first, "MOST_LOST", most)
        found = first.sure_alone(sure, alone, together, targets)
    more = loss(alone, targets) - loss(together, targets)
    highest_first = sorted(set(sure), reverse=True)
    kept = 0
    for bound in highest_first:  # one by one, as the docstring says
        lost = np.where(sure >= bound, more, 0.0)
        if lost.mean() + 1.645 * lost.std() / rows**0.5 > most:
            break
        kept += 1
    assert set(sure[sure > found]) == set(highest_first[:kept])
    assert (found == 0.0) == (kept == len(highest_first)) and (found == 1.0) == (kept == 0)


def test_of_too_few_rows_none_stands_alone(monkeypatch):
    monkeypatch.setattr(first, "MOST_LOST", 0.002)
    sure = np.linspace(0.9, 0.95, first.LEAST_ROWS)
    alone = np.log(np.stack([sure, 1 - sure], 1))
    targets = np.zeros(len(alone), int)
    assert first.sure_alone(sure[1:], alone[1:], alone[1:], targets[1:]) == 1.0
    assert first.sure_alone(sure, alone, alone, targets) == 0.0  # the other adds nothing
    assert first.sure_alone(sure, alone, -alone, targets + 1) == 1.0  # where it is sure it is wrong, and the other is right
    mended = alone + np.where(sure < 0.92, 1.0, 0.0)[:, None] * [1, 0]  # the other helps where it is less sure
    assert first.sure_alone(sure, alone, mended, targets) == pytest.approx(0.92, abs=0.002)


@pytest.mark.parametrize(("sharp", "factor"), [(1.65, 0.5), (2.55, 1.5), (0.3, 0.1)], ids=["less sharp than both", "sharper", "least"])
def test_validation_rows_set_the_bound(apart, monkeypatch, sharp, factor):
    """By a table of both losses, made here by other means; the first is as sharp as its own answers bear out, and both together stay what they are."""
    one, other = apart
    texts, targets = order_texts(300, 9)
    own, others = (p.logits(texts)[0] for p in apart)
    monkeypatch.setattr(first, "LEAST_ROWS", 300)
    monkeypatch.setattr(first, "blend", lambda found, *_: (1.2, 0.9) if len(found) == 2 else (sharp,))
    sure, logs = shares(factor * own).max(1), [np.log(shares(logits)) for logits in (own, others)]
    more = loss((1.2 + 0.9 * factor) * logs[0], targets) - loss(1.2 * logs[0] + 0.9 * logs[1], targets)
    lost = [np.where(sure >= bound, more, 0.0) for bound in np.sort(sure)[::-1]]
    upper = [rows.mean() + 1.645 * rows.std() / 300**0.5 for rows in lost]
    most = max(upper) - 1e-9 if factor == 0.1 else 0.004  # the last differ little
    monkeypatch.setattr(first, "MOST_LOST", most)
    kept = next(i for i, lose in enumerate(upper) if lose > most)
    assert 9 < kept < 280 or factor == 0.1
    both = first.weighed(one, other, texts, targets)
    weight = 1.2 / factor + 0.9
    assert both.share == pytest.approx(0.9 / weight) and (sure > both.sure).sum() == kept
    np.testing.assert_allclose(both.logits(texts)[0], np.where(sure[:, None] > both.sure, factor * own, (1.2 * own + 0.9 * others) / weight), atol=1e-5)


def test_what_no_row_needs_does_not_answer(apart, monkeypatch):
    texts, targets = order_texts(60, 9)
    monkeypatch.setattr(first, "LEAST_ROWS", 60)
    monkeypatch.setattr(first, "MOST_LOST", 9.0)
    assert first.weighed(*apart, texts, targets).beside is None
