"""Several classifiers that answer together; tests of the other kinds stand with them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from conftest import fit, order_texts, small
from tenor import store
from tenor.data.batches import pack
from tenor.errors import TenorError
from tenor.models.classify import TextClassifier, read_logits
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.fit import fit as fit_from
from tenor.training.optimiser import clip, make_optimiser
from tenor.training.presets import preset
from tenor.training.texts import Labelled, Tokenised

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[["neg", "pos"], ["a", "b", "c"]], ids=["two labels", "three"])
def three(request) -> Pipeline:
    texts, targets = order_texts(120, 7)
    labels = request.param
    targets = targets + (np.arange(120) % 3 == 0) * (len(labels) == 3)
    return fit(labels, texts, targets, texts[:20], targets[:20], small(networks=3, hidden=7, embedding=9, max_tokens=30, embedding_dropout=0.0, dropout=0.0))[0]


def alone(pipeline: Pipeline, i: int) -> TextClassifier:
    """The i-th network, made anew by itself from what a model folder holds of it."""
    weights = {k.removeprefix(f"networks.{i}."): torch.from_numpy(v) for k, v in pipeline.stored({}, {}, []).weights.items() if k.startswith(f"networks.{i}.")}
    single = TextClassifier(len(pipeline.tokenizer), len(pipeline.labels), pipeline.network.members[i].encoder.config)
    single.load_state_dict(weights)
    return single


def test_answers_are_the_mean_of_what_each_says_alone(three):
    ids = three.read(three.tokenizer.encode(order_texts(30, 8)[0]))
    each = [read_logits(alone(three, i), ids) for i in range(3)]
    assert np.ptp(np.stack(each), 0).min() > 0  # no two are one network
    np.testing.assert_allclose(read_logits(three.network, ids), np.mean(each, 0), atol=1e-5)


def test_each_learns_from_its_own_answer(three):
    texts, targets = order_texts(11, 9)
    batch = pack(three.read(three.tokenizer.encode(texts)), np.arange(11), 0)
    wanted = torch.from_numpy(targets)
    three.network.train()
    three.network.zero_grad()
    together = three.network.scores(batch, wanted)
    together.loss.backward()
    losses = []
    for i, member in enumerate(three.network.members):
        single = alone(three, i).train()
        loss = single.scores(batch, wanted).loss
        loss.backward()
        losses.append(float(loss.detach()))
        for (name, a), b in zip(member.named_parameters(), single.parameters(), strict=True):
            assert a.grad is not None and b.grad is not None
            torch.testing.assert_close(3 * a.grad.to_dense(), b.grad.to_dense(), rtol=1e-4, atol=1e-6, msg=name)
    assert float(together.loss.detach()) == pytest.approx(np.mean(losses), rel=1e-5)
    three.network.eval()
    with torch.no_grad():  # what chooses the epoch is the loss of the answer that is given
        assert float(three.network.scores(batch, wanted).loss) < float(together.loss.detach())


def test_a_folder_keeps_them_and_a_training_goes_on_from_them(three, tmp_path):
    texts, targets = order_texts(40, 10)
    store.write(tmp_path / "m", three.stored({"weights": "int8"}, {}, []), {})
    again = Pipeline.rebuilt(store.read(tmp_path / "m"), precision="float32")
    np.testing.assert_allclose(again.logits(texts)[0], three.logits(texts)[0], atol=0.05)
    start = Pretrained.read(tmp_path / "m")
    settings = preset("base", 40, start.settings, epochs=1, learning_rate=1e-9, precision="float32")
    assert settings.model.networks == 3
    went_on, _ = fit_from(Labelled(three.labels, texts, Tokenised.of(texts, settings.text, start.tokenizer), targets, [], targets[:0]), settings, start=start)
    np.testing.assert_allclose(went_on.logits(texts)[0], again.logits(texts)[0], atol=1e-4)


def test_a_folder_without_one_of_them_is_refused(three, tmp_path):
    stored = three.stored({}, {}, [])
    store.write(tmp_path / "m", store.Stored(stored.config, stored.tokenizer, {k: v for k, v in stored.weights.items() if "networks.2." not in k}, {}, []), {})
    with pytest.raises(TenorError, match=r"do not fit the settings at networks\.2\."):
        Pipeline.rebuilt(store.read(tmp_path / "m"))


def test_a_training_treats_each_as_if_it_were_alone(three):
    """Its dense output has its rate, and its gradients are clipped by their own length."""
    optimiser = make_optimiser(three.network, small(output_rate=3.3, embedding_rate=0.5).train)
    shares = {id(p): group["share"] for group in optimiser.param_groups for p in group["params"]}
    for name, p in three.network.named_parameters():
        assert shares[id(p)] == (0.5 if "embedding" in name else 3.3 if ".output." in name else 1.0)
    for i, p in enumerate(three.network.parameters()):
        p.grad = torch.full_like(p, 1e-9) if i else torch.ones_like(p)  # one network's is far too long
    clip(three.network, 0.6)
    norms = [float(torch.stack([p.grad.norm() for p in member.parameters()]).norm()) for member in three.network.members]
    assert norms[0] == pytest.approx(0.2, rel=1e-4)
    assert all(float(p.grad.max()) == pytest.approx(1e-9) for member in three.network.members[1:] for p in member.parameters())


def test_none_at_all_is_refused():
    with pytest.raises(TenorError, match="networks must be at least 1; got 0"):
        fit(["a", "b"], ["x"], np.zeros(1, np.int64), [], np.zeros(0, np.int64), small(networks=0))


def test_other_tasks_refuse_it(tenor, tmp_path):
    (tmp_path / "t.txt").write_text("some words\n" * 50)
    done = tenor("train", tmp_path / "t.txt", "--task", "generate", "--networks", "2", "--out", tmp_path / "m")
    assert done.code == 2 and "--networks" in done.err


def test_a_second_classifier_that_is_damaged_is_refused():
    texts, targets = order_texts(60, 3)
    one, other = (fit(["neg", "pos"], texts, targets, texts[:9], targets[:9], small(hidden=h, embedding=e))[0] for h, e in ((5, 4), (7, 6)))
    stored = one.answering_with(other, 0.3).stored({}, {}, [])
    expected = one.logits(texts)[0]
    np.testing.assert_allclose(Pipeline.rebuilt(stored, precision="float32").logits(texts)[0], expected, atol=1e-5)
    for change, said in [
        ({"share": 0.0}, "share in config.json must be a number above 0; got 0.0"),
        ({"share": 1.5}, "must be above 0 and at most 1; got 1.5"),
        ({"share": "half"}, "got 'half'"),
        ({"model": asdict(replace(other.model, hidden=8))}, "weights do not fit the settings at"),
    ]:
        with pytest.raises(TenorError, match=said):
            Pipeline.rebuilt(replace(stored, config=stored.config | {"beside": stored.config["beside"] | change}))
    with pytest.raises(TenorError, match=r"beside in config\.json must be an object; got 3"):
        Pipeline.rebuilt(replace(stored, config=stored.config | {"beside": 3}))
    with pytest.raises(TenorError, match="weights do not fit"):
        Pipeline.rebuilt(replace(stored, weights={k: v for k, v in stored.weights.items() if k != "beside.output.bias"}))
