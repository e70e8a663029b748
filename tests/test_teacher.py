"""Learning from a teacher: the linear model, how two models are blended, targets that are shares, and the whole of it from the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, softmax
from torch.nn import functional as F

from conftest import fit, order_texts, small
from tenor.config import ModelConfig, Start
from tenor.data.batches import pack
from tenor.data.text import Ragged
from tenor.errors import TenorError
from tenor.models.classify import TextClassifier
from tenor.training import fit as fitting
from tenor.training.fit import ClassifyExamples
from tenor.training.linear import Linear, taught_linear
from tenor.training.presets import ARTICLE, preset
from tenor.training.teacher import Taught, blend, log_shares, offsets, teach
from tenor.training.texts import Labelled, Tokenised


def ragged(rows):
    lengths = [len(r) for r in rows]
    return Ragged(np.concatenate([np.array(r, np.int32) for r in rows]), np.concatenate([[0], np.cumsum(lengths)]))


def grams(row):
    return {tuple(row[i : i + n]) for n in (1, 2, 3) for i in range(len(row) - n + 1)}


@pytest.mark.parametrize("labels", [2, 3])
def test_the_linear_model_knows_which_ngrams_a_text_holds_and_learns_order(labels):
    rng = np.random.default_rng(labels)
    rows = [rng.integers(2, 7, rng.integers(0, 12)).tolist() for _ in range(400)]
    # The order of 2 and 3 decides, which no single word tells; the third label is a triple.
    targets = np.array([2 if labels == 3 and (4, 4, 5) in grams(r) else int((2, 3) in grams(r)) for r in rows])
    model = Linear(ragged(rows), targets, labels, 7)
    times: dict[tuple, int] = {}
    for row in rows:
        for i in range(len(row)):
            for n in (1, 2, 3):
                if i + n <= len(row):
                    times[tuple(row[i : i + n])] = times.get(tuple(row[i : i + n]), 0) + 1
    kept = {g for g, n in times.items() if n >= 2}
    assert len(model.keys) == len(kept)
    held = model._held(ragged(rows))
    assert held.sum(1).A1.tolist() == [len(grams(r) & kept) for r in rows]
    fresh = [rng.integers(2, 7, rng.integers(3, 12)).tolist() for _ in range(200)]
    logits = model.logits(ragged(fresh))
    assert logits.shape == (200, 1 if labels == 2 else 3)
    guessed = (logits[:, 0] > 0).astype(int) if labels == 2 else logits.argmax(1)
    wanted = [2 if labels == 3 and (4, 4, 5) in grams(r) else int((2, 3) in grams(r)) for r in fresh]
    assert (guessed == wanted).mean() > 0.9
    assert np.isfinite(model.logits(ragged([[], [1], [6, 6, 6, 6]]))).all()


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_a_blend_follows_the_one_that_is_right(seed, labels):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, labels, 300)
    right = rng.normal(0, 0.1, (300, labels)) + 2 * np.eye(labels)[targets]
    noise = rng.normal(0, 1, (300, labels))
    found = np.stack([x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (noise, right)])
    first, second = blend(found, targets)
    assert second > 1 and first < second / 4


def test_few_rows_hardly_move_a_blend():
    surely_wrong = np.log(np.array([[[0.9, 0.1]], [[0.9, 0.1]]]))
    assert all(0.2 < w < 0.5 for w in blend(surely_wrong, np.array([1])))


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.01, 1.0, 30.0, 300.0]), st.sampled_from([1, 2, 400]))
def test_offsets_make_each_label_as_frequent_as_it_shall_be(seed, labels, sharp, texts):
    rng = np.random.default_rng(seed)
    said = rng.normal(0, sharp, (texts, labels)) + rng.normal(0, 3, labels)
    frequent = rng.dirichlet(np.full(labels, 5.0))
    moved = said + offsets(said, frequent)
    np.testing.assert_allclose(softmax(moved, axis=1).mean(0), frequent, atol=1e-5)


def test_a_teacher_whose_weights_are_broken_is_refused():
    texts, targets = order_texts(40, 1)
    broken = fit(["bad", "good"], texts, targets, [], targets[:0], small(hidden=4, epochs=1))[0]
    broken.network.output.bias.data.fill_(torch.nan)
    with pytest.raises(TenorError, match="A teacher must answer with numbers"):
        teach([broken], Labelled(broken.labels, texts, Tokenised.of(texts, broken.text), targets, [], targets[:0]), ["some more"])


def worded(count, seed, words):
    """Texts in which words below the middle of `words` stand for the first label, the others for the second, five to two."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, count)
    halves = np.array_split(np.array(words), 2)
    return [np.concatenate([rng.choice(halves[y], 5), rng.choice(halves[1 - y], 2)]).tolist() for y in targets], targets


def test_a_linear_model_learns_words_that_no_labelled_text_has():
    labelled, targets = worded(20, 0, [*range(2, 5), *range(21, 24)])  # of the same halves
    others, truth = worded(601, 1, range(2, 40))
    checks, right = worded(200, 2, range(2, 40))
    guessed = np.where(np.random.default_rng(3).random(len(truth)) < 0.1, 1 - truth, truth)
    said = taught_linear(ragged(labelled), targets, ragged([*checks, *others]), guessed, 2, 40)
    assert said.shape == (801, 1)
    alone = Linear(ragged(labelled), targets, 2, 40).logits(ragged(checks))
    share = [((logits[:, 0] > 0) == wanted).mean() for logits, wanted in ((said[:200], right), (said[200:], truth), (alone, right))]
    assert share[0] > 0.9 and share[1] > 0.88 and share[2] < 0.6


def test_no_text_is_answered_by_a_linear_model_that_has_learnt_its_guess():
    labelled, targets = worded(10, 0, range(2, 20))
    others, guessed = worded(30, 1, range(2, 20))
    other_way = guessed.copy()
    other_way[7] = 1 - guessed[7]
    before, after = (taught_linear(ragged(labelled), targets, ragged([[2, 3], *others]), some, 2, 20)[:, 0] for some in (guessed, other_way))
    moved = before[1:] != after[1:]
    assert not moved[7] and before[0] != after[0]
    assert 18 <= moved.sum() <= 21  # two thirds: the parts that learn from it


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_texts_of_any_number_and_labels_are_labelled(count, labels):
    rng = np.random.default_rng(count)
    rows = [rng.integers(2 + 3 * (i % labels), 5 + 3 * (i % labels), 6).tolist() for i in range(60)]  # three words a label
    targets = np.arange(60) % labels
    said = taught_linear(ragged(rows[:12]), targets[:12], ragged(rows[12 : 12 + count]), targets[12 : 12 + count], labels, 12)
    guessed = (said[:, 0] > 0).astype(int) if labels == 2 else said.argmax(1)
    assert said.shape == (count, 1 if labels == 2 else 3) and guessed.tolist() == targets[12 : 12 + count].tolist()


def test_without_validation_rows_they_are_labelled_too():
    texts, targets = order_texts(60, 1)
    teacher = fit(["bad", "good"], texts, targets, [], targets[:0], small(hidden=4, epochs=1))[0]
    found = teach([teacher], Labelled(teacher.labels, texts, Tokenised.of(texts, teacher.text), targets, [], targets[:0]), order_texts(30, 2)[0], few=True)
    assert found.weights == (0.5, 0.5) and np.isnan(found.accuracy)
    np.testing.assert_allclose(found.shares.sum(1), 1, atol=1e-6)


def test_where_few_rows_have_a_label_the_linear_model_has_learnt_from_guesses():
    texts, targets = order_texts(60, 1)
    others, _ = order_texts(200, 2)
    teacher = fit(["bad", "good"], texts[:40], targets[:40], [], targets[:0], small(hidden=4, epochs=2))[0]
    rows = Labelled(teacher.labels, texts[:40], Tokenised.of(texts[:40], teacher.text), targets[:40], texts[40:], targets[40:])
    frequent = np.array([0.7, 0.3])
    many, few = teach([teacher], rows, others), teach([teacher], rows, others, few=True, frequent=frequent)
    ids = teacher.tokenizer.encode

    def held(scores):  # by bisection: two labels, so one number
        return brentq(lambda by: expit(scores[20:] + by).mean() - frequent[1], -99, 99)

    first = np.log(many.shares[:, 1] / many.shares[:, 0])
    guessed = (first + held(np.concatenate([np.zeros(20), first])) > 0).astype(int)
    linear = taught_linear(ids(texts[:40]), targets[:40], ids([*texts[40:], *others]), guessed, 2, len(teacher.tokenizer))
    found = np.stack([log_shares(teacher.logits(texts[40:] + others)[0]), log_shares(linear)])
    weights = blend(found[:, :20], targets[40:])
    np.testing.assert_allclose(few.weights, weights, rtol=1e-5)
    scores = np.tensordot(weights, found[:, :, 1] - found[:, :, 0], 1)
    assert few.unheld == pytest.approx((1 - expit(scores[20:]).mean(), expit(scores[20:]).mean()), abs=1e-6) and many.unheld == ()
    scores += held(scores)
    np.testing.assert_allclose(few.shares[:, 1], expit(scores[20:]), atol=1e-4)
    assert np.abs(few.shares - many.shares).max() > 0.1 and few.shares.mean(0) == pytest.approx(frequent, abs=1e-4)
    assert few.texts is others and few.accuracy == ((scores[:20] > 0) == targets[40:]).mean()


@pytest.mark.parametrize(("checks", "others", "schedule", "wanted"), [(9, 70, "one_cycle", 5), (9, 50, "one_cycle", 1), (12, 70, "one_cycle", 1), (9, 70, "constant", 1)])
def test_too_few_validation_rows_choose_no_epoch_of_what_learns_from_many_other_texts(checks, others, schedule, wanted, monkeypatch):
    monkeypatch.setattr(fitting, "ENOUGH", 12)
    monkeypatch.setattr(fitting, "by_accuracy", lambda entry: (-entry["epoch"],))  # so the first epoch is the best
    texts, targets = order_texts(60 + checks, 1)
    rows = Labelled(["bad", "good"], texts[:60], Tokenised.of(texts[:60], ARTICLE.text), targets[:60], texts[60:], targets[60:])
    more = order_texts(others, 2)[0]
    taught = Taught(more, np.full((others, 2), 0.5, np.float32), (1.0,), 1.0)
    _, outcome = fitting.fit(rows, small(hidden=4, epochs=5, schedule=schedule), taught=taught)
    assert outcome.best_epoch == wanted


def test_texts_that_share_nothing_still_give_a_linear_model():
    model = Linear(ragged([[2, 3], [4, 5]]), np.array([0, 1]), 2, 9)
    assert model.logits(ragged([[2], [5]]))[:, 0].tolist() == pytest.approx([-model.logits(ragged([[5]]))[0, 0], model.logits(ragged([[5]]))[0, 0]], abs=0.2)


@pytest.mark.parametrize("labels", [2, 3])
def test_shares_that_are_all_or_nothing_are_labels(labels):
    torch.manual_seed(0)
    model = TextClassifier(9, labels, ModelConfig(hidden=3, embedding=4))
    ids = ragged([[2, 3, 4], [5], [], [6, 7]])
    targets = torch.tensor([1, 0, labels - 1, 0])
    batch = pack(ids, np.array([3, 1, 2]))
    hard, soft = model.scores(batch, targets), model.scores(batch, F.one_hot(targets, labels).float())
    torch.testing.assert_close(hard.loss, soft.loss)
    assert hard[1:] == soft[1:]
    shares = torch.rand(4, labels).softmax(1)
    logits = model(batch)
    both = torch.cat((torch.zeros_like(logits), logits), 1) if labels == 2 else logits
    wanted = -(shares[torch.from_numpy(batch.rows)] * both.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(model.scores(batch, shares).loss, wanted)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 5))
def test_every_epoch_reads_the_labels_and_all_of_them_together_each_taught_text_once(labelled, others, epochs):
    ids = ragged([[2]] * (labelled + others))
    targets = np.full((labelled + others, 2), 0.5, np.float32)
    settings = preset("base", epochs=epochs, batch_size=4)
    examples = ClassifyExamples(ids, targets, labelled, ids, np.zeros(len(ids), np.int64), settings, 0)
    read = [np.sort(np.concatenate(examples.plan(e))) for e in range(epochs)]
    assert all((rows[:labelled] == np.arange(labelled)).all() for rows in read)
    assert sorted(np.concatenate([rows[labelled:] for rows in read]).tolist()) == list(range(labelled, labelled + others))


def test_a_start_is_fine_tuned_with_rates_of_its_own_and_what_is_asked_for_holds():
    text, model = ARTICLE.text, ModelConfig(hidden=7, embedding=5, cell="gru", dropout=0.9)
    start = Start(text, model)
    found = preset("base", 100_000, start, epochs=3)
    assert (found.model.hidden, found.model.embedding, found.model.cell, found.text.vocab) == (7, 5, "gru", text.vocab)
    assert found.train.output_rate > 1 > found.train.embedding_rate and found.train.epochs == 3 and found.model.dropout != 0.9
    assert preset("quick", 100_000, start).train.epochs == 1
    assert preset("base", 300, start).train.epochs > 2
    rates = [preset("base", None, Start(text, replace(model, hidden=h))).train.learning_rate for h in (16, 256, 512)]
    assert rates == [4e-3, 12e-4, 6e-4]
    assert preset("base", 300, start, learning_rate=0.5).train.learning_rate == 0.5


def test_few_rows_move_the_vectors_of_a_classifier_further_than_those_of_a_language_model():
    language, classifier = (Start(ARTICLE.text, ModelConfig(), classifier) for classifier in (False, True))
    rates = [[preset("base", rows, start).train.embedding_rate for rows in (300, 100_000)] for start in (language, classifier)]
    assert rates[0] == [rates[1][1]] * 2 and rates[1][0] > 1 > rates[1][1]


@pytest.fixture
def partly(tmp_path):
    """A CSV of which most rows have no label."""
    texts, targets = order_texts(500, 3)
    path = tmp_path / "partly.csv"
    path.write_text("text,label\n" + "".join(f"{t},{('bad', 'good')[y] if i < 150 else ''}\n" for i, (t, y) in enumerate(zip(texts, targets, strict=True))))
    return path


def test_a_teacher_labels_what_nobody_labelled(partly, tenor, tmp_path):
    small = ("--hidden", 8, "--embedding", 8, "--epochs", 2, "--no-baseline")
    first = tenor("train", partly, "--out", "t", *small)
    done = tenor("train", partly, "--out", "s", *small, "--teacher", "t", "--label-smoothing", 0.1)
    assert (first.code, done.code) == (0, 0), done.err
    assert ["the last epoch is kept: " in " ".join(said.split()) for said in (first.out, done.out)] == [False, True]
    assert "350 rows without a label are labelled by the logits of t times" in done.out and "of the validation rows" in done.out
    assert "another division" not in done.out
    assert "another division" in tenor("train", partly, "--out", "u", *small, "--teacher", "t", "--seed", 3).out
    started = [tenor("train", partly, "--out", f"f{seed}", "--epochs", 1, "--no-baseline", "--from", "t", "--seed", seed).out for seed in (0, 3)]
    assert ["another division" in said for said in started] == [False, True]
    assert f"another division of ./{partly.name}" in tenor("train", f"./{partly.name}", "--out", "v", *small, "--teacher", "t", "--seed", 3).out
    assert "--task generate has no --teacher. Leave it out." in tenor("train", partly, "--task", "generate", "--teacher", "t", "--out", "g").err
    made = json.loads((tmp_path / "s" / "config.json").read_text())
    assert made["teachers"] == ["t"] and made["train"]["label_smoothing"] == 0.1


def test_several_teachers_label_together(partly, tenor, tmp_path):
    small = ("--embedding", 8, "--epochs", 2, "--no-baseline")
    for name, hidden in ("t", 8), ("u", 4):
        assert tenor("train", partly, "--out", name, *small, "--hidden", hidden).code == 0
    done = tenor("train", partly, "--out", "s", *small, "--teacher", "t", "--teacher", "u")
    assert done.code == 0 and "labelled by the logits of t times" in done.out and ", the logits of u times" in done.out, done.err
    assert json.loads((tmp_path / "s" / "config.json").read_text())["teachers"] == ["t", "u"]


def test_what_a_teacher_cannot_do_is_said(partly, reviews, tenor):
    small = ("--hidden", 4, "--embedding", 4, "--epochs", 1, "--no-baseline")
    assert tenor("train", partly, "--out", "t", *small).code == 0
    for source, said in [(reviews, "has none. Add such rows"), ("other.csv", "must know the labels of the data")]:
        if source == "other.csv":
            rows = partly.read_text().replace(",good", ",x").replace(",bad", ",y")
            partly.with_name("other.csv").write_text(rows)
        wrong = tenor("train", source, "--out", "s", *small, "--teacher", "t")
        assert wrong.code == 2 and said in wrong.err
    copies = partly.with_name("copies.csv")
    copies.write_text("".join([*partly.read_text().splitlines(keepends=True)[:151], *(line.rsplit(",", 1)[0] + ",\n" for line in partly.read_text().splitlines()[1:20])]))
    assert "has none but empty ones, copies of others or rows of part test. Add such rows" in tenor("train", copies, "--out", "s", *small, "--teacher", "t").err
    assert tenor("pretrain", partly, "--out", "l", "--hidden", 4, "--embedding", 4, "--epochs", 1).code == 0
    assert "A teacher is a classifier that knows the labels of the data; l knows a language and no labels yet." in tenor("train", partly, "--out", "s", *small, "--teacher", "l").err
    assert "tenor train" in tenor("train", partly, "--out", "s", *small, "--teacher", "nothing").err
