"""The training job where the command line cannot easily be made to fail: full disks, and what is said before training."""

import os

import pytest

from conftest import small
from tenor.errors import TenorError
from tenor.jobs.prepare import Order
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
