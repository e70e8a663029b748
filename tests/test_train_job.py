"""The training job where the command line cannot easily be made to fail: full disks, and what is said before training."""

import os
from dataclasses import replace

import pytest

from conftest import small
from tenor import store
from tenor.errors import TenorError
from tenor.jobs.evaluate import seen_in_training
from tenor.jobs.prepare import Order, prepare
from tenor.jobs.train import train
from tenor.training import loop
from tenor.training.events import Events


def order(reviews, out, **more):
    return Order(str(reviews), out, lambda *_: small(hidden=4, embedding=4, max_tokens=9), baseline=False, **more)


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_full_disk_at_the_checkpoint_says_so_and_leaves_nothing(reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "save_checkpoint", full)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    with pytest.raises(TenorError, match=r"checkpoint could not be written.*No space left.*--resume"):
        train(order(reviews, tmp_path / "m"), lambda *_: None, Events())
    assert os.listdir(tmp_path) == []


def test_a_full_disk_at_the_end_loses_no_training(reviews, tmp_path, monkeypatch):
    monkeypatch.setattr("tenor.store.os.rename", full)
    with pytest.raises(TenorError, match=r"No space left.*not lost.*--resume"):
        train(order(reviews, tmp_path / "m"), lambda *_: None, Events())
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["m.training"]
    steps = []

    class Watch(Events):
        def step(self, state):
            steps.append(state.step)

    assert train(order(reviews, tmp_path / "m", resume=True), lambda *_: None, Watch())["finished"]
    assert steps == []  # nothing had to be trained again
    assert os.listdir(tmp_path) == ["m"]


def test_what_the_limit_cuts_is_said_before_training(reviews, tmp_path):
    said = []

    class Stop(Events):
        def begin(self, *_):
            assert any("training texts cut to 9 tokens, which loses" in s for _, sentences in said for s in sentences)
            assert any("tokens in the median" in s for _, sentences in said for s in sentences)
            said.append(("begun", []))

    train(order(reviews, tmp_path / "m"), lambda *words: said.append(words), Stop())
    assert said[-1][0] == "begun"


def test_files_of_others_in_the_folder_of_a_run_stay(reviews, tmp_path):
    (tmp_path / "m.training").mkdir()
    (tmp_path / "m.training" / "notes.txt").write_text("mine")
    train(order(reviews, tmp_path / "m"), lambda *_: None, Events())
    assert os.listdir(tmp_path / "m.training") == ["notes.txt"]


def test_extra_rows_train_and_neither_validate_nor_test(reviews, tmp_path):
    plain = prepare(order(reviews, tmp_path / "m"))
    test, aside = (plain.texts(part)[0] for part in (plain.split.test, plain.split.validation))
    (tmp_path / "extra.csv").write_text(f"text,label,split\nlessons are rows,pos,train\n{test},neg,train\n{aside},pos,train\nread nowhere,neg,test\nno label,,train\n")
    data = prepare(order(reviews, tmp_path / "m", extra=str(tmp_path / "extra.csv")))
    new = [data.rows[i].text for i in data.split.train if i >= len(plain.rows)]
    assert new == ["lessons are rows"] and data.findings.extra == 1 and data.findings.train == plain.findings.train + 1
    assert data.texts(data.split.test) == plain.texts(plain.split.test) and data.texts(data.split.validation) == plain.texts(plain.split.validation)
    assert data.names[data.targets[data.split.train[-1]]] == "positive" and data.findings.unlabelled == plain.findings.unlabelled + 1
    assert sum(data.findings.balance.values()) == pytest.approx(1)
    said = " ".join(data.sentences)
    assert "1 row of the training rows is of" in said and all(f"1 row of {tmp_path / 'extra.csv'} {which}: left out." in said for which in ("with the text of a validation row", "of part test"))


def test_extra_rows_are_no_texts_without_a_label_and_none_of_theirs_is_learnt_from(reviews, tmp_path):
    rows = reviews.read_text() + "said twice,\nsaid once,\n"
    (tmp_path / "partly.csv").write_text(rows)
    (tmp_path / "extra.csv").write_text("text,label\nsaid twice,pos\nno label,\n")
    asked = replace(order(tmp_path / "partly.csv", tmp_path / "m", extra=str(tmp_path / "extra.csv")), teachers=["t"])
    assert prepare(asked).others == ["said once"]


def test_extra_rows_beside_a_second_file_and_the_datas_own_parts(reviews, tmp_path):
    (tmp_path / "extra.csv").write_text("text,label\nfirst lesson,pos\nto be tested,pos\n")
    (tmp_path / "test.csv").write_text("text,label\nTo be tested,pos\nbad,neg\n")
    data = prepare(order(reviews, tmp_path / "m", test=str(tmp_path / "test.csv"), extra=str(tmp_path / "extra.csv")))
    assert data.texts(data.split.train)[-1] == "first lesson" and data.findings.extra == 1 and [r.text for r in data.test_rows] == ["To be tested", "bad"]
    kept = prepare(order(reviews, tmp_path / "m", test=str(tmp_path / "test.csv"), extra=str(tmp_path / "extra.csv"), keep_overlap=True))
    assert kept.findings.extra == 2


def test_a_model_that_has_learnt_a_file_as_extra_says_so(reviews, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("text,label\n" + "".join(f"own text {i},{('neg', 'pos')[i % 2]}\n" for i in range(40)))
    partly = tmp_path / "partly.csv"
    partly.write_text(own.read_text() + "no label here,\n")
    train(order(own, tmp_path / "m", extra=str(reviews)), lambda *_: None, Events())
    assert "has learnt from 300 rows of" in seen_in_training(store.read(tmp_path / "m"), "m", str(reviews), None)[0]
    told: list[str] = []
    train(order(reviews, tmp_path / "started", start=tmp_path / "m"), lambda _, sentences: told.extend(sentences), Events())
    train(order(partly, tmp_path / "taught", teachers=[tmp_path / "m"], test=str(reviews), keep_overlap=True), lambda _, sentences: told.extend(sentences), Events())
    assert sum(f"another division of {reviews}: it may know rows" in sentence for sentence in told) == 2


@pytest.mark.parametrize(
    ("table", "rule"),
    [("text,label\na,zebra\n", "The training rows have the labels .*extra.csv has 'zebra'"), ("text,label,split\na,pos,test\n", "has none but those of part test"), ("text,label\na,\n", "extra.csv has none\\.")],
)
def test_extra_rows_that_cannot_be_learnt_from_are_refused(reviews, tmp_path, table, rule):
    (tmp_path / "extra.csv").write_text(table)
    with pytest.raises(TenorError, match=rule):
        prepare(order(reviews, tmp_path / "m", extra=str(tmp_path / "extra.csv")))


def test_extra_rows_that_all_stand_in_the_test_are_refused(reviews, tmp_path):
    plain = prepare(order(reviews, tmp_path / "m"))
    texts = [*plain.texts(plain.split.test), *plain.texts(plain.split.validation)]
    (tmp_path / "extra.csv").write_text("text,label\n" + "".join(f"{t},pos\n" for t in texts))
    with pytest.raises(TenorError, match="has the text of a validation or test row"):
        prepare(order(reviews, tmp_path / "m", extra=str(tmp_path / "extra.csv")))


def test_extra_rows_that_are_the_sources_or_the_tests_own_are_refused(reviews, tmp_path):
    (tmp_path / "test.csv").write_text("text,label\nof the test,pos\n")
    for extra, said in ((reviews, "the source"), (tmp_path / "test.csv", "--test")):
        with pytest.raises(TenorError, match=f"is read already, as {said}"):
            prepare(order(reviews, tmp_path / "m", test=str(tmp_path / "test.csv"), extra=os.path.relpath(extra)))


def test_a_run_with_other_extra_rows_is_another_run_and_they_are_no_rows_of_the_source(reviews, tmp_path):
    (tmp_path / "extra.csv").write_text("text,label\nlessons are rows,pos\n")
    asked = order(reviews, tmp_path / "m", extra=str(tmp_path / "extra.csv"))
    metrics = train(asked, lambda *_: None, Events())
    assert train(replace(asked, resume=True), lambda *_: None, Events())["data"] == metrics["data"]
    with pytest.raises(TenorError, match="model of another run"):
        train(replace(asked, extra=None, resume=True), lambda *_: None, Events())
    rows = metrics["data"]["train"] + metrics["data"]["validation"] - 1
    assert f"has seen {rows} rows of" in seen_in_training(store.read(tmp_path / "m"), "m", str(reviews), None)[0]


def test_a_folder_of_before_an_adversary_could_be_asked_for_is_as_asked(reviews, tmp_path):
    train(order(reviews, tmp_path / "m"), lambda *_: None, Events())
    stored, said = store.read(tmp_path / "m"), []
    of_before = {**stored.config, "train": {k: v for k, v in stored.config["train"].items() if k != "adversary"}}
    store.write(tmp_path / "m", replace(stored, config=of_before), {}, overwrite=True)
    train(order(reviews, tmp_path / "m", resume=True), lambda _, sentences: said.extend(sentences), Events())
    assert said == [f"{tmp_path / 'm'} is finished already; nothing to do."]
