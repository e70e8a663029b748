"""`tenor pretrain` and `tenor train --from`: from texts without labels to a classifier."""

import re

import numpy as np
import pytest

from conftest import small
from tenor import store
from tenor.config import ModelConfig, TextConfig, TrainConfig
from tenor.data.text import Chunks, Ragged, Tokenizer, chop
from tenor.errors import TenorError
from tenor.jobs.prepare import Order
from tenor.jobs.pretrain import PretrainOrder
from tenor.jobs.pretrain import pretrain as run
from tenor.jobs.train import train
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.events import Events
from tenor.training.presets import PRETRAIN, changed
from tenor.training.presets import preset as preset_of
from tenor.training.pretrain import LanguageExamples


def preset(**changes):
    return changed(PRETRAIN, {"hidden": 6, "embedding": 5, "epochs": 2, "vectors": False, "max_tokens": 9, "batch_size": 8} | changes)


@pytest.fixture
def texts(tmp_path):
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(["a", "good", "bad", "film", "the", "plot", "was"], 14)) for _ in range(160)]
    rows = list(dict.fromkeys(rows))
    path = tmp_path / "texts.csv"
    path.write_text("review,split\n" + "".join(f"{r},{('test', 'Test2016')[i % 2] if i < 10 else 'train'}\n" for i, r in enumerate(rows)) + f"{rows[-1]},train\n,train\n")
    return path, rows


def order(texts, out, **more):
    return PretrainOrder(str(texts[0]), out, more.pop("preset", preset()), **more)


def silent(*_):
    pass


def test_texts_are_read_without_a_label_and_test_rows_left_out(texts, tmp_path):
    said = []
    metrics = run(order(texts, tmp_path / "p"), lambda *words: said.extend(words[1]), Events())
    assert metrics["finished"] and metrics["data"]["texts"] + metrics["data"]["validation"] == len(texts[1]) - 10
    assert "10 rows of part test left out, to stay unseen." in said
    assert "2 texts left out, empty or standing there already." in said
    stored = store.read(tmp_path / "p")
    assert stored.config["task"] == "pretrain" and "--from p" in (tmp_path / "p" / "README.md").read_text()
    assert not any(w in stored.tokenizer for w in ("good film bad",)) and len(stored.history) == 2


def test_words_that_are_foretold_are_no_accuracy(texts, tenor, tmp_path):
    done = tenor("pretrain", texts[0], "--hidden", 4, "--embedding", 4, "--epochs", 1, "--out", "p")
    assert done.code == 0 and "accuracy" not in done.out + done.err
    loss = float(re.search(r"nats a word, among words that are drawn: train (\S+), validation", done.err)[1])
    assert 0 < loss <= np.log(1025)  # who knows frequencies alone
    card = (tmp_path / "p" / "README.md").read_text()
    assert "| nats a word | guessed |" in card and "has 6.93" in card and "accuracy" not in card


def test_a_start_says_which_settings_of_the_preset_do_not_hold(texts, reviews, tmp_path):
    run(order(texts, tmp_path / "p"), silent, Events())
    said: list[str] = []
    train(Order(str(reviews), tmp_path / "m", lambda rows, start=None: preset_of("base", rows, start, epochs=1, max_tokens=30), baseline=False, start=tmp_path / "p"), lambda _, s: said.extend(s), Events())
    (why,) = [s for s in said if s.startswith("Because it starts there")]
    assert "embedding_dropout 0.3 (not 0.4)" in why and "embedding 5" not in why and "weight_decay 0.01 (not 0.0)" in why and "cell" not in why and "epochs 1" in why and "max_tokens 30" in why


def test_a_classifier_starts_where_pretraining_ended(texts, reviews, tenor, tmp_path):
    run(order(texts, tmp_path / "p"), silent, Events())
    start = store.read(tmp_path / "p")
    done = tenor("train", reviews, "--from", "p", "--out", "m", "--epochs", 1, "--learning-rate", 1e-9, "--no-baseline")
    assert done.code == 0, done.err
    made = store.read(tmp_path / "m")
    assert made.tokenizer == start.tokenizer and made.config["start"] == "p"
    assert all(made.config["model"][k] == start.config["model"][k] for k in ("cell", "hidden", "embedding", "layers", "bidirectional"))
    for name, weight in start.weights.items():
        np.testing.assert_allclose(made.weights[name], weight, atol=1e-5)
    again = Order(str(reviews), tmp_path / "m2", lambda rows, start=None: preset_of("base", rows, start, epochs=1), start=tmp_path / "m", baseline=False)
    assert train(again, silent, Events())["finished"]  # a classifier is a start too


def test_several_classifiers_start_from_one_language_model(texts, reviews, tmp_path):
    run(order(texts, tmp_path / "p"), silent, Events())
    start = store.read(tmp_path / "p")

    def trained(out, start, **changes):
        return train(Order(str(reviews), out, lambda rows, start=None: preset_of("base", rows, start, epochs=1, learning_rate=1e-9, **changes), start=start, baseline=False), silent, Events())

    trained(tmp_path / "m", tmp_path / "p", networks=3)
    made = store.read(tmp_path / "m")
    assert made.config["model"]["networks"] == 3 and len(made.weights) == 3 * (len(start.weights) + 2)
    for name, weight in start.weights.items():
        for i in range(3):
            np.testing.assert_allclose(made.weights[f"networks.{i}.{name}"], weight, atol=1e-5)
    assert np.abs(made.weights["networks.0.output.weight"] - made.weights["networks.1.output.weight"]).min() > 1e-6  # what begins anew differs
    with pytest.raises(TenorError, match="a classifier of 3 networks, and so is what it makes: networks cannot be chosen"):
        trained(tmp_path / "n", tmp_path / "m", networks=3)
    trained(tmp_path / "n", tmp_path / "m")
    assert store.read(tmp_path / "n").config["model"]["networks"] == 3


def test_resuming_gives_the_same_weights(texts, tmp_path):
    run(order(texts, tmp_path / "whole"), silent, Events())

    class Stop(Events):
        steps = 0

        def step(self, _):
            self.steps += 1

        def stop(self):
            return self.steps == 3

    assert not run(order(texts, tmp_path / "p"), silent, Stop())["finished"]
    with pytest.raises(TenorError, match="exists already"):
        run(order(texts, tmp_path / "p"), silent, Events())
    run(order(texts, tmp_path / "p", resume=True), silent, Events())
    one, other = store.read(tmp_path / "whole"), store.read(tmp_path / "p")
    assert all((one.weights[k] == other.weights[k]).all() for k in one.weights)
    assert run(order(texts, tmp_path / "p", resume=True), silent, Events())["finished"]


def test_what_cannot_be_used_says_so(texts, reviews, tenor, tmp_path):
    run(order(texts, tmp_path / "p"), silent, Events())
    with pytest.raises(TenorError, match=r"no labels yet\. Use tenor train SOURCE --from MODEL"):
        Pipeline.rebuilt(store.read(tmp_path / "p"))
    assert "tenor train SOURCE --from p" in tenor("info", "p").out
    assert "--hidden cannot be chosen" in tenor("train", reviews, "--from", "p", "--hidden", 9, "--out", "q").err
    assert "tenor pretrain SOURCE --out nowhere (texts without labels), or tenor train SOURCE --out nowhere" in tenor("train", reviews, "--from", "nowhere", "--out", "q").err
    few = tmp_path / "few.csv"
    few.write_text("text\n" + "".join(f"word {i}\n" for i in range(30)))
    for wrong, said in [
        (order((few,), tmp_path / "q"), "at least 100 different texts"),
        (order(texts, tmp_path / "p"), "exists already"),
        (order(texts, tmp_path / "q", preset=preset(layers=2)), "one layer"),
    ]:
        with pytest.raises(TenorError, match=said):
            run(wrong, silent, Events())


@pytest.mark.parametrize(
    ("more", "told"),
    [([], True), (["--split", "range", "--train-rows", 100, "--test-rows", 40], True), (["--split", "range", "--train-rows", 160], False), (["--split", "official"], False), (["--test", "other.csv"], False)],
    ids=str,
)
def test_a_language_model_that_has_read_the_test_rows_is_told(tenor, tmp_path, more, told):
    lines = [f"{'good' if i % 2 else 'bad'} film number {i},{i % 2},{'test' if i < 40 else 'train'}\n" for i in range(160)]
    (tmp_path / "all.csv").write_text("text,label,split\n" + "".join(lines))
    (tmp_path / "other.csv").write_text("text,label,split\n" + "".join(line.replace("film", "book") for line in lines[:20]))
    small = ("--epochs", 1, "--precision", "float32")
    assert tenor("pretrain", "all.csv", "--out", "l", "--hidden", 4, "--embedding", 4, *small).code == 0
    for name in ("all.csv", "./all.csv"):
        done = tenor("train", name, "--from", "l", "--out", "m", "--overwrite", "--no-baseline", *small, *more)
        assert done.code == 0 and (f"l was pretrained on {name}. If that is as it was then" in done.out) == told, done.err
    if "--test" in more:
        assert "l was pretrained on all.csv" in tenor("train", "other.csv", "--test", "all.csv", "--from", "l", "--out", "n", "--no-baseline", *small).out


def test_a_classifier_gives_its_answers_where_labels_are_the_same(reviews, tmp_path):
    """With a rate of next to nothing, the new model answers as the old one did; with other labels it begins anew."""
    first = Order(str(reviews), tmp_path / "m", lambda *_: small(hidden=4, embedding=4, epochs=1, pairs=50, seed=9), baseline=False)
    train(first, silent, Events())
    start = store.read(tmp_path / "m")
    assert "pairs" in start.weights
    rows = reviews.read_text().splitlines()
    renamed = {"same": ("negative", "positive"), "short": ("neg", "pos"), "turned": ("1", "0"), "other": ("x", "y")}
    said: list[str] = []
    for name, words in renamed.items():
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join([rows[0], *(r.replace("negative", words[0]).replace("positive", words[1]) for r in rows[1:])]) + "\n")
        train(Order(str(path), tmp_path / name, lambda rows, start=None: preset_of("base", rows, start, epochs=1, learning_rate=1e-9), baseline=False, start=tmp_path / "m"), lambda _, sentences: said.extend(sentences), Events())
    asked = [r.rsplit(",", 1)[0] for r in rows[1:30]]
    wanted = Pipeline.rebuilt(start, precision="float32").logits(asked)[0]
    for name in ("same", "short"):
        made = store.read(tmp_path / name)
        assert made.tokenizer == start.tokenizer and (made.weights["pairs"] == start.weights["pairs"]).all()
        np.testing.assert_allclose(Pipeline.rebuilt(made, precision="float32").logits(asked)[0], wanted, atol=1e-4)
    other = store.read(tmp_path / "other")
    assert np.abs(Pipeline.rebuilt(other, precision="float32").logits(asked)[0] - wanted).max() > 0.01
    np.testing.assert_allclose(other.weights["encoder.embedding.weight"], start.weights["encoder.embedding.weight"], atol=1e-5)
    assert sum("and answers: its labels are the same" in s for s in said) == 3 and sum("but not answers" in s for s in said) == 1


def test_answers_follow_the_order_of_the_labels():
    """More than two labels: rows change places; two: the one logit changes its sign."""
    output = {"weight": np.arange(6.0).reshape(3, 2).astype(np.float32), "bias": np.array([7, 8, 9], np.float32)}
    three = Pretrained(None, TextConfig(), ModelConfig(), [], None, ["a", "b", "c"], [output])
    (got,) = three.answers(["c", "a", "b"], ModelConfig())
    assert got["bias"].tolist() == [9, 7, 8] and got["weight"][0].tolist() == [4, 5]
    two = Pretrained(None, TextConfig(), ModelConfig(), [], None, ["neg", "pos"], [{"bias": np.array([3.0])}])
    assert two.answers(["negative", "positive"], ModelConfig())[0]["bias"] == 3 and two.answers(["positive", "negative"], ModelConfig())[0]["bias"] == -3
    assert two.answers(["neg", "pos"], ModelConfig(pooling="last")) == [] == two.answers(["neg", "neutral", "pos"], ModelConfig()) == two.answers(["neg", "neutral"], ModelConfig())


def test_a_start_that_contradicts_itself_is_refused():
    stored = store.Stored({"task": "classify", "text": {"pairs": 5}, "model": {}}, Tokenizer.train(Chunks.of(["a b"]), TextConfig()).to_json(), {}, {}, [])
    with pytest.raises(TenorError, match="pairs of words"):
        Pretrained.of(stored, "q")
    with pytest.raises(TenorError, match="task 'tag'"):
        Pretrained.of(store.Stored({"task": "tag"}, "{}", {}, {}, []), "q")


def test_pieces_hold_every_token_once():
    rng = np.random.default_rng(3)
    lengths = np.array([0, 1, 9, 10, 11, 30, 4])
    ids = Ragged(rng.integers(2, 50, lengths.sum()).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]))
    pieces = chop(ids, 10)
    assert (pieces.values == ids.values).all() and pieces.lengths.max() <= 10
    assert pieces.lengths.tolist() == [0, 1, 9, 10, 5, 6, 10, 10, 10, 4]


def test_words_are_drawn_by_their_frequency():
    ids = Ragged(np.array([2] * 60 + [3] * 30 + [4] * 10 + [1] * 50, np.int32), np.array([0, 150]))
    examples = LanguageExamples(ids, ids, 6, TextConfig(), TrainConfig())
    (_, first), (_, second) = examples.batch(examples.plan(0)[0]), examples.batch(examples.plan(1)[0])
    share = np.bincount(first.numpy(), minlength=6) / len(first)
    np.testing.assert_allclose(share, [0, 0, 0.6, 0.3, 0.1, 0], atol=0.03)
    assert (first != second).any() and (examples.batch(examples.plan(0)[0])[1] == first).all()
    with pytest.raises(TenorError, match="no known word"):
        LanguageExamples(Ragged(np.array([1, 1], np.int32), np.array([0, 2])), ids, 6, TextConfig(), TrainConfig())


def test_the_models_sizes_are_kept(texts, tmp_path):
    run(order(texts, tmp_path / "p", preset=preset(cell="gru", bidirectional=False, layers=2)), silent, Events())
    stored = store.read(tmp_path / "p")
    assert stored.config["model"] == {**stored.config["model"], "cell": "gru", "layers": 2, "bidirectional": False}
    assert ModelConfig(**stored.config["model"]).hidden == 6
