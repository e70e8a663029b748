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
    (tmp_path / "letter.txt").write_text("dear")
    for folder, overwrite, said in [("m", False, "Choose another folder, or add overwrite=True"), (".", True, "overwrite=True replaces a model folder"), ("letter.txt/m", False, "Choose another folder")]:
        with pytest.raises(TenorError, match=said) as error:
            model.save(tmp_path / folder, overwrite)
        assert "--" not in str(error.value)
    with pytest.raises(TenorError, match="Choose another folder"):
        model.save("reviews-en")


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


def test_start_from_a_model(data, tmp_path):
    texts, labels = data
    Classifier(**SMALL, seed=3).fit(texts, labels).save(tmp_path / "m")
    for start in (str(tmp_path / "m"), tmp_path / "m"):
        model = Classifier(start=start, epochs=1, learning_rate=1e-9, batch_size=16, precision="float32")
        assert clone(model).get_params() == model.get_params() and model.get_params()["start"] == start
        model.fit(texts, labels)
        old = tenor.load(tmp_path / "m", precision="float32")
        assert model.pipeline_.model.hidden == 8 and model.pipeline_.tokenizer.to_json() == old.pipeline_.tokenizer.to_json()
        np.testing.assert_allclose(model.pipeline_.logits(texts)[0], old.pipeline_.logits(texts)[0], atol=1e-4)
    model.save(tmp_path / "n")
    again = tenor.load(tmp_path / "n", precision="float32")
    assert again.start == str(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    search = GridSearchCV(Classifier(epochs=1, batch_size=16), {"start": [tmp_path / "m", str(tmp_path / "m")]}, cv=2).fit(texts, labels)
    assert search.best_params_["start"] == tmp_path / "m"  # a tie: the first
    with pytest.raises(TenorError, match="hidden cannot be chosen"):
        Classifier(start=tmp_path / "m", hidden=8).fit(texts, labels)
    with pytest.raises(TenorError, match="nowhere does not exist"):
        Classifier(start="nowhere").fit(texts, labels)
    with pytest.raises(TenorError, match="is no model folder"):
        Classifier(start=tmp_path).fit(texts, labels)


def test_probabilities_are_calibrated_on_rows_that_were_not_trained_on(data, tmp_path):
    texts, labels = data
    model = Classifier(**SMALL, seed=3, validation=40).fit(texts, labels)
    assert model.pipeline_.temperature != 1
    logits = model.pipeline_.logits(texts)[0]
    np.testing.assert_allclose(model.predict_proba(texts)[:, 1], 1 / (1 + np.exp(-logits[:, 0] / model.pipeline_.temperature)))
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(tenor.load(tmp_path / "m", precision="float32").predict_proba(texts), model.predict_proba(texts))
    assert "fitted on 40 validation rows" in (tmp_path / "m" / "README.md").read_text()
    assert Classifier(**SMALL, validation=0).fit(texts, labels).pipeline_.temperature == 1


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
    for start in (5, ["m"], b"m"):
        with pytest.raises(TenorError, match="named by its folder"):
            Classifier(start=start).fit(texts, labels)
    with pytest.raises(NotFittedError):
        Classifier().predict(["a"])


def test_a_score_without_a_common_label_is_refused(pipeline):
    model = Classifier.of(pipeline.stored({}, {}, []))
    assert model.score(["early late"], ["neg"]) in (0.0, 1.0)
    with pytest.raises(TenorError, match="labels of the model, 'neg', 'pos'; got 'bad', 'good'"):
        model.score(["early late", "late"], ["bad", "good"])
