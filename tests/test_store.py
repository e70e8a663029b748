"""A model folder: exact when read, refused when damaged, whole or absent when written."""

import json
import os

import numpy as np
import pytest

from tenor import store
from tenor.errors import TenorError
from tenor.pipelines.classification import Pipeline
from tenor.store import Stored


@pytest.fixture
def folder(tmp_path, pipeline):
    store.write(tmp_path / "m", pipeline.stored({"source": "x"}, {"finished": True}, [{"epoch": 1, "loss": 0.5}]), {"README.md": b"card"})
    return tmp_path / "m"


def test_round_trip_gives_the_same_probabilities(folder, pipeline):
    stored = store.read(folder)
    texts = ["early it was late", "late and early", "", "unknown words"]
    np.testing.assert_array_equal(Pipeline.rebuilt(stored, precision="float32").probabilities(texts)[0], pipeline.probabilities(texts)[0])
    assert stored.metrics == {"finished": True}
    assert stored.history == [{"epoch": 1, "loss": 0.5}]
    assert (folder / "README.md").read_bytes() == b"card"


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


DAMAGES = {
    "missing weights": (lambda f: (f / "model.safetensors").unlink(), "incomplete"),
    "cut weights": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-7]), "cut, changed or damaged.*bytes instead of"),
    "one flipped bit": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1] + b"\x7f"), "checksum differs"),
    "changed tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "cut, changed or damaged"),
    "swapped labels": (lambda f: edit(f / "config.json", lambda c: c["labels"].reverse()), "config.json was changed"),
    "changed size": (lambda f: edit(f / "config.json", lambda c: c["model"].update(hidden=3)), "config.json was changed"),
    "newer format": (lambda f: edit(f / "config.json", lambda c: c.update(format=store.FORMAT + 1)), "Update Tenor"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "JSON list": (lambda f: (f / "config.json").write_text("[]"), "must hold a JSON object"),
    "cut history": (lambda f: (f / "history.jsonl").write_text('{"ep'), "history.jsonl was cut"),
    "better metrics": (lambda f: edit(f / "metrics.json", lambda m: m.update(finished=False)), "metrics.json was cut, changed"),
    "no config": (lambda f: (f / "config.json").unlink(), "is no model folder"),
    "other program": (lambda f: (f / "config.json").write_text("{}"), "names no format"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_and_named(folder, damage):
    harm, message = DAMAGES[damage]
    harm(folder)
    with pytest.raises(TenorError, match=message):
        store.read(folder)


def test_a_folder_of_format_1_is_read_as_before(tmp_path, pipeline, monkeypatch):
    stored = pipeline.stored({}, {"finished": True}, [])
    del stored.config["temperature"]
    monkeypatch.setattr(store, "FORMAT", 1)
    store.write(tmp_path / "old", stored, {})
    monkeypatch.undo()
    old = store.read(tmp_path / "old")
    assert old.config["format"] == 1 and "weights" not in old.config
    again = Pipeline.rebuilt(old, precision="float32")
    assert again.temperature == 1
    np.testing.assert_array_equal(again.probabilities(["early late"])[0], pipeline.probabilities(["early late"])[0])


def test_a_model_in_few_bytes_stays_so_when_it_is_written_again(tmp_path, pipeline):
    store.write(tmp_path / "a", pipeline.stored({"weights": "int8"}, {}, []), {})
    first = store.read(tmp_path / "a")
    more = {k: v for k, v in first.config.items() if k not in ("format", "files")}
    store.write(tmp_path / "b", Pipeline.rebuilt(first).stored(more, {}, []), {})
    second = store.read(tmp_path / "b")
    assert second.config["weights"] == "int8" and second.config["files"]["model.safetensors"]["bytes"] == first.config["files"]["model.safetensors"]["bytes"]
    for name, weight in first.weights.items():
        np.testing.assert_allclose(second.weights[name], weight, rtol=1e-6)
    with pytest.raises(TenorError, match="got 'int4'"):
        store.write(tmp_path / "c", pipeline.stored({"weights": "int4"}, {}, []), {})


def test_settings_that_do_not_fit_the_weights_are_refused(pipeline):
    stored = pipeline.stored({}, {}, [])
    wrong = Stored(stored.config | {"model": stored.config["model"] | {"hidden": 3}}, stored.tokenizer, stored.weights, {}, [])
    with pytest.raises(TenorError, match="do not fit"):
        Pipeline.rebuilt(wrong)
    for part, message in ({"labels": 5}, "two labels"), ({"model": {"hidden": -1}}, "at least 1"), ({"text": {"vocabb": 1}}, "did you mean 'vocab'"), ({"model": {"hidden": 10**5}}, "do not fit"), ({"temperature": 0}, "above 0"), ({"temperature": "2"}, "above 0"):
        with pytest.raises(TenorError, match=message):
            Pipeline.rebuilt(Stored(stored.config | part, stored.tokenizer, stored.weights, {}, []))


def test_nothing_is_overwritten_unasked_and_a_failed_write_keeps_the_old(folder, pipeline, monkeypatch):
    stored = pipeline.stored({}, {"finished": False}, [])
    with pytest.raises(TenorError, match="--overwrite"):
        store.write(folder, stored, {})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(TenorError, match="No space left"):
        store.write(folder, stored, {}, overwrite=True)
    monkeypatch.undo()
    assert store.read(folder).metrics == {"finished": True}
    assert os.listdir(folder.parent) == ["m"]
    store.write(folder, stored, {}, overwrite=True)
    assert store.read(folder).metrics == {"finished": False}
    assert os.listdir(folder.parent) == ["m"]


def test_overwrite_replaces_models_only(tmp_path, pipeline):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.txt").write_text("years of work")
    with pytest.raises(TenorError, match="replaces a model folder"):
        store.write(tmp_path / "docs", pipeline.stored({}, {}, []), {}, overwrite=True)
    (tmp_path / "m.old").mkdir()
    (tmp_path / "m.new").mkdir()
    for _ in range(2):
        store.write(tmp_path / "m", pipeline.stored({}, {}, []), {}, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["docs", "m", "m.new", "m.old"]  # other folders' names are theirs
    assert os.listdir(tmp_path / "docs") == ["thesis.txt"]


def test_a_full_disk_for_real(tmp_path, pipeline):
    """/dev/full cannot hold a folder; a file-size limit stands in for the full disk."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
        with pytest.raises(TenorError, match="Nothing was left half-written"):
            store.write(tmp_path / "m", pipeline.stored({}, {}, []), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []
