"""--preset best: what the network learns from, the second time."""

import json
import re
from dataclasses import asdict, replace
from functools import partial
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import fit, order_texts, small
from tenor import store
from tenor.api.classify import Classifier
from tenor.cells import native
from tenor.config import Start
from tenor.errors import TenorError
from tenor.jobs import trainings
from tenor.jobs.info import info
from tenor.jobs.prepare import Order
from tenor.jobs.pretrain import PretrainOrder, pretrain
from tenor.jobs.shrink import ShrinkOrder, shrink
from tenor.jobs.train import train
from tenor.models.classify import read_logits
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training import first, presets
from tenor.training.events import Events

pytestmark = pytest.mark.usefixtures("one_thread")


class StopIn(Events):
    """Asks the training number `stage` of a job to stop after 3 steps."""

    def __init__(self, stage: int) -> None:
        self.stage, self.begun, self.steps = stage, 0, 0

    def begin(self, *_: object) -> None:
        self.begun += 1

    def step(self, _: object) -> None:
        self.steps += self.begun == self.stage

    def stop(self) -> bool:
        return self.steps == 3


class Heard(Events):
    """In which order trainings are announced and begin."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def training(self, _: str) -> None:
        self.order.append("training")

    def begin(self, *_: object) -> None:
        self.order.append("begin")


def listen(monkeypatch, module, name):
    """What a function is given from now on, a tuple each time."""
    heard, usual = [], getattr(module, name)

    def listening(*given, **more):
        heard.append((*given, *more.values()))
        return usual(*given, **more)

    monkeypatch.setattr(module, name, listening)
    return heard


@pytest.fixture
def partly(tmp_path):
    """A CSV of which most rows have no label."""
    texts, targets = order_texts(400, 3)
    path = tmp_path / "partly.csv"
    path.write_text("text,label\n" + "".join(f"{t},{('bad', 'good')[y] if i < 150 else ''}\n" for i, (t, y) in enumerate(zip(texts, targets, strict=True))))
    return path


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(source, name, events, resume) with sizes that take seconds -> metrics and what was said."""
    best = presets.BEST
    tiny = replace(best.language, model=replace(best.language.model, hidden=6, embedding=5))
    monkeypatch.setitem(presets.PRESETS, "best", replace(best, language=tiny))

    def run_job(source, name="b", events=None, resume=False, start=None, extra=None, **more):
        said = []
        order = Order(str(source), tmp_path / name, lambda rows, start=None: presets.preset("best", rows, start, hidden=4, embedding=8, epochs=2, precision="float32", how="random", **more), start=start, extra=extra, baseline=False, resume=resume)
        return train(order, lambda _, sentences: said.extend(sentences), events or Events()), " ".join(said)

    return run_job


def test_of_few_rows_a_large_network_that_read_no_test_or_validation_text_teaches(run, partly, tmp_path, monkeypatch):
    heard = listen(monkeypatch, first, "pretrain")
    metrics, said = run(partly)
    ((tokens, check, *_),) = heard
    assert len(tokens.ids) + len(check) == metrics["data"]["train"] + 250
    assert "A language model (LSTM of 6 units a direction)" in said
    assert "250 rows without a label; 250 texts of them are learnt from too." in said
    assert "250 rows without a label are labelled by the logits of the classifier from the language model times" in said
    assert "A classifier from the language model, which learns by an adversary from the rows without a label" in said and "for 0." not in said  # it only teaches
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["language"]["model"]["hidden"] == 6 and config["teachers"] == []
    assert config["model"]["hidden"] == 4 and config["model"]["networks"] == 4 and config["train"]["label_smoothing"] == 0.1
    assert not (tmp_path / "b.training").exists()


def test_of_many_rows_it_teaches_itself_and_both_models_answer(run, partly, tmp_path, monkeypatch):
    monkeypatch.setattr(first, "SMALL", 100)
    heard = listen(monkeypatch, trainings, "joined")
    metrics, said = run(partly, networks=3)
    ((*made, _),) = heard
    assert "A first model of the labelled rows alone, " in said and "language model" not in said
    assert "250 rows without a label; 250 texts of them are learnt from too." in said
    assert "250 rows without a label are labelled by the logits of the first model times" in said
    stored = store.read(tmp_path / "b")
    together = Pipeline.rebuilt(stored, precision="float32")
    texts, _ = order_texts(30, 4)
    logits = [p.logits(texts)[0] for p in made]
    assert [p.model.networks for p in made] == [1, 2] and together.model.networks == 3
    np.testing.assert_allclose(together.logits(texts)[0], (logits[0] + 2 * logits[1]) / 3, atol=1e-3)
    assert "1 network of the labelled rows and 2 that learnt from all answer together, right on" in said
    assert metrics["calibration"]["temperature"] == stored.config["temperature"] == together.temperature
    weights = [member.encoder.embedding.weight for p in made for member in p.network.members]
    assert all((a - b).abs().max() > 1e-3 for a, b in combinations(weights, 2))


@pytest.fixture
def language(tmp_path):
    """The folder of a language model of other sizes than the small networks have."""
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(f"{t} {i}" for i, t in enumerate(order_texts(150, 5)[0])))
    settings = presets.changed(presets.PRETRAIN, {"hidden": 6, "embedding": 5, "vocab": 40, "epochs": 1, "precision": "float32"})
    pretrain(PretrainOrder(str(texts), tmp_path / "language", settings), lambda *_: None, Events())
    return tmp_path / "language"


def test_from_a_language_model_a_classifier_of_its_own_sizes_answers_too(run, partly, language, tmp_path, monkeypatch):
    monkeypatch.setattr(first, "SMALL", 100)
    made, trained = listen(monkeypatch, trainings, "weighed"), listen(monkeypatch, first, "fit")
    metrics, said = run(partly, start=language, networks=2)
    _, (*_, start, taught) = trained  # of the labelled rows alone, and the one beside
    assert start.model.hidden == 6 and len(taught.texts) == 250 and np.isnan(taught.shares).all() and trained[1][1].train.adversary > 0
    assert Pretrained.read(tmp_path / "b").settings.classifier and not start.settings.classifier
    assert f"A classifier that labels the rows without a label and may answer beside the small networks starts from {language}" in said and "A classifier from the language model, which learns by an adversary from the rows without a label (virtual adversarial training) too and reads at most 400 tokens: " in said
    assert re.search(r"250 rows without a label are labelled by the logits of the first model times [\d.]+, the logits of the classifier from the language model times [\d.]+ and those of a linear model", said)
    ((small, large, *_),) = made
    assert large.model.hidden == 6 and small.model.hidden == 4 and small.model.networks == 2
    assert large.pairs is None and small.pairs is not None and small.tokenizer.to_json() == large.tokenizer.to_json() == Pretrained.read(language).tokenizer.to_json()
    assert (large.network.encoder.embedding.weight - torch.from_numpy(Pretrained.read(language).encoders[0]["embedding.weight"])).abs().max() < 0.2
    read = Pipeline.rebuilt(store.read(tmp_path / "b"), precision="float32")
    texts, _ = order_texts(30, 4)
    apart = [read_logits(p.network, p.read(p.tokenizer.encode(texts))) for p in (small, large)]
    assert 0 < read.share < 1 and np.ptp(apart[0] - apart[1]) > 0.01
    np.testing.assert_allclose(read.logits(texts)[0], (1 - read.share) * apart[0] + read.share * apart[1], atol=1e-5)
    numbers, lines = info(str(tmp_path / "b"))
    assert "beside it, for 0." in lines[1] and "LSTM 6" in lines[1] and "at most 600 a text" in lines[2] and numbers["weights"] == sum(w.size for w in store.read(tmp_path / "b").weights.values())
    shrink(ShrinkOrder(str(tmp_path / "b"), tmp_path / "s"))
    np.testing.assert_allclose(Pipeline.rebuilt(store.read(tmp_path / "s"), precision="float32").logits(texts)[0], read.logits(texts)[0], atol=0.02)
    small = Pipeline.rebuilt(store.read(tmp_path / "s"), device="cpu")
    assert {"8 bits" in p.network.path for p in (small, small.beside)} == {native.available() and native.traits().int8}
    card = (tmp_path / "b" / "README.md").read_text()
    assert "| beside: hidden | 6 |" in card and "Texts are cut to 600 tokens" in card
    assert "| adversary | 0 |" in card and f"| beside: adversary | {trained[1][1].train.adversary:g} |" in card
    assert f"and the classifier from the language model for {read.share:.2f} of the answer, answer together" in said and metrics["finished"]


def test_who_is_more_often_right_has_the_greater_share():
    texts, targets = order_texts(200, 6)
    lost = np.random.default_rng(0).permutation(targets)
    good, bad = (fit(["bad", "good"], texts, said, texts[:9], said[:9], small(epochs=8, batch_size=8))[0] for said in (targets, lost))
    aside, right = order_texts(200, 7)
    assert (good.probabilities(aside)[0].argmax(1) == right).mean() > 0.65
    assert first.weighed(good, bad, aside, right).share < 0.4
    good.beside = None
    assert first.weighed(bad, good, aside, right).share > 0.6
    bad.beside = None
    assert first.weighed(good, bad, [], right[:0]).share == 0.5
    good.beside = None
    assert first.weighed(good, bad, [], right[:0], 0.2).share == pytest.approx(0.2)
    good.beside = None
    assert first.weighed(good, bad, aside[:1], right[:1], 0.2).share == pytest.approx(0.2, abs=0.1)  # a row tells little


@pytest.mark.parametrize(("weights", "share"), [((0.0, 0.0), 0.5), ((2.0, 0.0), 0.0), ((0.0, 2.0), 1.0)])
def test_weights_of_nothing_leave_a_model_that_can_be_read_again(monkeypatch, weights, share):
    texts, targets = order_texts(40, 6)
    one, other = (fit(["bad", "good"], texts, targets, texts[:9], targets[:9], small(hidden=h))[0] for h in (5, 6))
    monkeypatch.setattr(first, "blend", lambda found, *_: weights[: len(found)])
    both = first.weighed(one, other, texts, targets)
    read = Pipeline.rebuilt(both.stored({}, {}, []), precision="float32")
    assert read.share == share and (read.beside is None) == (share == 0)
    np.testing.assert_allclose(read.logits(texts)[0], both.logits(texts)[0], atol=1e-5)


def test_a_training_from_such_a_model_goes_on_with_both(run, partly, language, tmp_path):
    run(partly, start=language)
    begun, said = Pretrained.read(tmp_path / "b"), []
    order = Order(str(partly), tmp_path / "c", lambda rows, start=None: presets.preset("base", rows, start, epochs=1, learning_rate=1e-5, precision="float32"), start=tmp_path / "b", baseline=False)
    with pytest.raises(TenorError, match="Stopped before the last training had begun"):
        train(order, lambda *_: None, StopIn(1))
    train(replace(order, resume=True), lambda _, sentences: said.extend(sentences), Events())
    assert "Another network answers beside the others there: it is trained first, then the others, and they answer together again." in said
    assert any(s.startswith("The classifier that answers beside the others, which reads at most 400 tokens: ") for s in said)
    read, old = (Pipeline.rebuilt(store.read(tmp_path / folder), precision="float32") for folder in "cb")
    assert read.model.networks == 4 and read.beside.model.hidden == 6 and 0 < read.share <= 1
    assert any(s.startswith(f"4 networks, and the one beside for {read.share:.2f} of the answer, answer together") for s in said)
    train(replace(order, out=tmp_path / "d"), lambda *_: None, Events())  # the same without a stop
    train(replace(order, out=tmp_path / "e", teachers=[tmp_path / "b"]), lambda _, sentences: said.extend(sentences), Events())
    assert any(s.startswith("The classifier that answers beside the others, which learns from the teachers' answers too and reads at most 400 tokens: ") for s in said)
    for name, weight in store.read(tmp_path / "d").weights.items():
        np.testing.assert_array_equal(store.read(tmp_path / "c").weights[name], weight, err_msg=name)
    texts, _ = order_texts(30, 4)
    for now, before in ((read, old), (read.beside, old.beside)):  # hardly moved at so small a rate
        found, was = (read_logits(p.network, p.read(p.tokenizer.encode(texts))) for p in (now, before))
        assert 0 < np.abs(found - was).max() < 0.05
    assert begun.beside.model.hidden == 6 and begun.beside.settings.classifier and begun.beside.beside is None
    model = Classifier(start=tmp_path / "b", epochs=1, learning_rate=1e-5, precision="float32").fit(texts, [i % 2 for i in range(len(texts))])
    assert model.pipeline_.beside.model.hidden == 6 and Classifier(start=language, epochs=1).fit(texts, [i % 2 for i in range(len(texts))]).pipeline_.beside is None


def test_of_few_rows_the_large_network_starts_from_the_language_model_that_is_given(run, partly, language, tmp_path, monkeypatch):
    monkeypatch.setattr(first, "pretrain", None)
    monkeypatch.setattr(trainings, "MANY_TEXTS", 250)
    trained, chosen = (listen(monkeypatch, first, name) for name in ("fit", "from_language"))
    _, said = run(partly, start=language)
    ((rows, settings, *_, taught),) = trained
    assert settings.model.networks == 1 and settings.train.adversary > 0 and settings.train.label_smoothing == 0
    assert np.isnan(taught.shares).all() and len(taught.texts) == 250 and len(rows.targets) < 250
    assert "A classifier from the language model, which learns by an adversary from the rows without a label (virtual adversarial training) too and reads" in said
    assert re.search(r"250 rows without a label are labelled by the logits of the classifier from the language model times [\d.]+ and those of a linear model of n-grams, which has learnt from a first labelling of them by all, times [\d.]+; each label is held to be as frequent among them as among the labelled rows \(bad [\d.]+%, good [\d.]+%; the teachers alone said bad [\d.]+%, good [\d.]+%\); so", said)
    assert f"A classifier that labels the rows without a label and may answer beside the small networks starts from {language}" in said
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["beside"]["model"]["hidden"] == 6 and config["model"]["hidden"] == 4 and config["start"] == str(language)
    assert config["beside"]["train"] == asdict(settings.train) and chosen[0][2] == len(rows.targets) + 250  # its epochs are those of so many rows
    assert "4 networks that learnt from all rows, and the classifier from the language model for 0." in said


@pytest.mark.parametrize("most", [250, 251])
def test_each_label_is_held_to_its_share_of_the_labelled_rows_of_the_source(run, partly, language, tmp_path, monkeypatch, most):
    monkeypatch.setattr(trainings, "MANY_TEXTS", most)
    taught = listen(monkeypatch, trainings, "teach")
    texts, _ = order_texts(60, 9)
    (tmp_path / "extra.csv").write_text("text,label\n" + "".join(f"{t},good\n" for t in texts))
    run(partly, start=language, extra=str(tmp_path / "extra.csv"))
    ((_, rows, others, _, frequent),) = taught
    texts, targets = order_texts(400, 3)
    known = dict(zip(texts[:150], targets[:150], strict=True))
    own = [known[t] for t in (*rows.texts, *rows.validation_texts) if t in known]
    assert len(others) == 250 and len(own) < len(rows.texts) and len(rows.texts) > 150
    assert (frequent is None) == (most > 250)
    if frequent is not None:
        np.testing.assert_allclose(frequent, np.bincount(own) / len(own))
        assert rows.targets.mean() > frequent[1] + 0.05


def test_the_second_training_learns_from_the_rows_without_a_label_and_begins_elsewhere(run, partly, monkeypatch):
    monkeypatch.setattr(first, "SMALL", 100)
    trained = listen(monkeypatch, trainings, "fit")
    run(partly)
    (rest,) = trained
    settings, (taught, pairs) = rest[1], rest[-2:]
    assert settings.train.seed == 1 and settings.model.networks == 2 and len(taught.texts) == 250 and pairs is not None


@pytest.mark.parametrize("few", [True, False])
def test_of_a_teacher_what_stands_beside_is_always_asked(partly, tmp_path, monkeypatch, few):
    monkeypatch.setattr(first, "SMALL", 10_000 if few else 100)
    texts, targets = order_texts(60, 6)
    one, other = (fit(["bad", "good"], texts, targets, texts[:9], targets[:9], small(hidden=h))[0] for h in (5, 6))
    store.write(tmp_path / "teacher", one.answering_with(other, 0.4, 0.6).stored({}, {}, []), {})
    taught = listen(monkeypatch, trainings, "teach")
    order = Order(str(partly), tmp_path / "b", lambda rows, start=None: presets.preset("base", rows, start, hidden=4, embedding=8, epochs=1, precision="float32"), teachers=[tmp_path / "teacher"], baseline=False)
    train(order, lambda *_: None, Events())
    (((teacher,), *_, told, frequent),) = taught
    assert told is few and frequent is None  # it knows the bound, if it has learnt from more than these rows
    assert teacher.beside and teacher.share == 0.4 and teacher.sure == 1.0


def test_few_rows_in_all_get_more_epochs(language):
    start, asked = Pretrained.read(language), presets.preset("best", 300)
    assert [first.from_language(start, asked, rows).train.epochs for rows in (600, 60_000)] == [8, 4]
    assert presets.preset("best", 300).train.epochs == 10 and presets.preset("best", 30_000).train.epochs == 2


@pytest.mark.parametrize(("stages", "few", "started"), [((1, 2), True, False), ((1,), False, False), ((1, 2), False, True), ((1,), True, True)])
def test_it_stops_and_goes_on_in_every_stage(request, run, partly, tmp_path, monkeypatch, stages, few, started):
    monkeypatch.setattr(first, "SMALL", 10_000 if few else 100)
    run = partial(run, start=request.getfixturevalue("language") if started else None)
    run(partly, "whole")
    for stage in stages:
        with pytest.raises(TenorError, match=r"no model yet\. Go on with the same command and --resume"):
            run(partly, events=StopIn(stage), resume=stage > 1)
        assert not (tmp_path / "b").exists()
        with pytest.raises(TenorError, match="An earlier run stopped"):
            run(partly)
    metrics, _ = run(partly, events=StopIn(len(stages) + 1), resume=True)
    assert not metrics["finished"]
    metrics, _ = run(partly, resume=True)
    assert metrics["finished"] and (tmp_path / "b" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("few", "started"), [(True, False), (False, False), (False, True), (True, True)])
def test_each_of_several_trainings_is_announced_as_it_begins(request, run, partly, monkeypatch, few, started):
    monkeypatch.setattr(first, "SMALL", 10_000 if few else 100)
    heard = Heard()
    run(partly, start=request.getfixturevalue("language") if started else None, events=heard)
    one, labelling = ["training", "begin"], ["training"]  # a linear model has no epochs
    assert heard.order == (one * (2 if few != started else 1)) + labelling + one


@pytest.mark.parametrize("eight", ["", "; recurrent products in 8 bits"])
def test_a_reason_that_holds_for_both_kernels_is_said_once(eight):
    def path(reason: str, other: str) -> str:
        own, beside = (SimpleNamespace(path=f"native {cell}, avx2 (amx: no), bfloat16: {why}{eight}") for cell, why in (("GRU", reason), ("LSTM", other)))
        return Pipeline.path.fget(SimpleNamespace(network=own, beside=SimpleNamespace(network=beside)))

    assert path("built", "built") == f"native GRU, avx2 (amx: no), bfloat16: built{eight}; beside it native LSTM, avx2 (amx: no), bfloat16{eight}"
    assert path("built", "asked for").endswith(f"beside it native LSTM, avx2 (amx: no), bfloat16: asked for{eight}")


def test_a_single_training_has_no_heading_but_where_texts_are_labelled_before_it(partly, reviews, tmp_path):
    heard = Heard()
    train(Order(str(reviews), tmp_path / "m", lambda *_: small(hidden=4, embedding=4), baseline=False), lambda *_: None, heard)
    train(Order(str(partly), tmp_path / "taught", lambda *_: small(hidden=4, embedding=4), teachers=[tmp_path / "m"], baseline=False), lambda *_: None, heard)
    assert heard.order == ["begin", "training", "training", "begin"]  # the second one labels texts before it trains


def test_what_it_cannot_do_is_said(run, reviews):
    with pytest.raises(TenorError, match=r"learns from rows without a label, and .* has none"):
        run(reviews)
    with pytest.raises(TenorError, match=r"starts from a language model .* and this is a classifier"):
        presets.preset("best", None, Start(presets.BASE.text, presets.BASE.model, classifier=True))
    with pytest.raises(TenorError, match="networks must be at least 2; got 1"):
        presets.preset("best", networks=1)
    with pytest.raises(TenorError, match="fit is not given"):
        Classifier(preset="best").fit(["a", "b", "c"] * 9, [0, 1, 2] * 9)
