"""A classifier beside another one is asked only where the first is not sure."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert f"beside it, for 0.30 of the answer where the first is less than {bound:.2f} sure, " in info(str(tmp_path / "m"))[1][1]
    beside = stored.config["beside"]
    earlier = replace(stored, config=stored.config | {"beside": {k: v for k, v in beside.items() if k != "sure"}})
    np.testing.assert_allclose(Pipeline.rebuilt(earlier, precision="float32").logits(texts)[0], 0.7 * own + 0.3 * others, atol=1e-5)
    for value in (0.0, 1.5, "often"):
        with pytest.raises(TenorError, match="sure"):
            Pipeline.rebuilt(replace(stored, config=stored.config | {"beside": beside | {"sure": value}}))


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 60), labels=st.integers(2, 3), sharpness=st.floats(0.5, 2.0), steps=st.integers(1, 30), most=st.floats(0.0, 0.2))
def test_the_bound_is_the_lowest_that_loses_no_more_than_may_be_lost(seed, rows, labels, sharpness, steps, most):
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first, "LEAST_ROWS", 1)
        patch.setattr(first, "MOST_LOST", most)
        raw = rng.integers(-steps, steps, (rows, labels)) / steps * 3  # rows that are equally sure, too
        alone = raw - np.log(np.exp(raw).sum(1, keepdims=True))
        together, targets = alone + rng.normal(0, 1, alone.shape), rng.integers(0, labels, rows)
        found = first.sure_alone(alone, together, sharpness, targets)

    def loss(scores: np.ndarray) -> np.ndarray:
        return np.array([np.log(np.exp(s).sum()) - s[t] for s, t in zip(scores, targets, strict=True)])

    sure, single, both = np.exp(alone).max(1), loss(sharpness * alone), loss(together)

    def lost(bound: float) -> float:
        return float(np.where(sure > bound, single, both).mean() - both.mean())

    assert lost(found) <= most + 1e-9
    assert all(lost(bound) > most - 1e-9 for bound in sorted(set(sure))[:-1] if bound < found)
    assert found == 1.0 or found in sure


def test_few_rows_let_none_stand_alone():
    alone = np.log(np.full((first.LEAST_ROWS, 2), [0.9, 0.1]) + np.linspace(0, 0.05, first.LEAST_ROWS)[:, None] * [1, -1])
    targets = np.zeros(len(alone), int)
    assert first.sure_alone(alone[1:], alone[1:], 1.0, targets[1:]) == 1.0
    assert first.sure_alone(alone, alone, 1.0, targets) == pytest.approx(0.9)  # the other adds nothing
    assert first.sure_alone(alone, -alone, 1.0, targets + 1) == 1.0  # where it is sure it is wrong, and the other is right
