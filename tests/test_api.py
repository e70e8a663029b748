"""The estimator inside scikit-learn's own tools."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import tenor
from conftest import order_texts
from tenor import Classifier, TenorError

SMALL = {"hidden": 8, "embedding": 8, "epochs": 2, "batch_size": 16, "precision": "float32"}


def shout(texts):
    return [t.upper() for t in texts]


@pytest.fixture(scope="module")
def data():
    texts, targets = order_texts(120, 11)
    return texts, np.array(["late first", "early first"], dtype=object)[targets]


def test_fit_predict_save_load(data, tmp_path):
    texts, labels = data
    model = Classifier(**SMALL, seed=3).fit(texts, labels)
    shares = model.predict_proba(texts)
    assert shares.shape == (120, 2) and model.classes_.tolist() == ["early first", "late first"]
    assert (model.predict(texts) == model.classes_[shares.argmax(1)]).all()
    assert model.score(texts, labels) == (model.predict(texts) == labels).mean()
    model.save(tmp_path / "m")
    again = tenor.load(tmp_path / "m", precision="float32")
    np.testing.assert_array_equal(again.predict_proba(texts), shares)
    assert again.get_params()["hidden"] == 8 and again.history_ == model.history_
    with pytest.raises(TenorError, match="overwrite"):
        model.save(tmp_path / "m")


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["no", "yes"], [3, 1, 2]])
def test_labels_of_any_kind_come_back_as_they_were(labels, tmp_path):
    texts, _ = order_texts(60, 12)
    y = np.array([labels[i % len(labels)] for i in range(60)])
    model = Classifier(**SMALL).fit(texts, y)
    assert model.predict(texts[:5]).dtype == y.dtype
    model.save(tmp_path / "m")
    assert set(tenor.load(tmp_path / "m").predict(texts).tolist()) <= set(labels)


def test_works_in_scikit_learns_tools(data):
    texts, labels = data
    model = Classifier(**SMALL)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(cell="rnn").cell == "rnn"
    assert cross_val_score(model, texts, labels, cv=2).shape == (2,)
    search = GridSearchCV(model, {"hidden": [4, 6], "cell": ["gru"]}, cv=2).fit(texts, labels)
    assert search.best_estimator_.hidden in (4, 6)
    chain = Pipeline([("shout", FunctionTransformer(shout)), ("net", Classifier(**SMALL))])
    assert len(chain.fit(texts, labels).predict(texts[:3])) == 3


def test_mistakes_are_said(data):
    texts, labels = data
    with pytest.raises(TenorError, match="12 texts"):
        Classifier().fit(texts[:12], labels[:11])
    with pytest.raises(TenorError, match="different labels"):
        Classifier().fit(texts, ["a"] * 120)
    with pytest.raises(TenorError, match=r"at place 1 it has 5"):
        Classifier().fit(["a", 5], [0, 1])
    with pytest.raises(TenorError, match="list of texts; got one text"):
        Classifier().fit("a text", [0])
    with pytest.raises(TenorError, match="did you mean 'lstm'"):
        Classifier(cell="lstmm").fit(texts, labels)
    with pytest.raises(TenorError, match="hidden must be at least 1"):
        Classifier(hidden=0).fit(texts, labels)
    with pytest.raises(NotFittedError):
        Classifier().predict(["a"])
