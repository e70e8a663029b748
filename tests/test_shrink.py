"""`tenor shrink`: small, whole, as good as before, and read everywhere."""

import gzip
import os
from dataclasses import replace

import numpy as np
import pytest

from conftest import order_texts
from recurrent import ISAS
from tenor import store
from tenor.cells import native
from tenor.errors import TenorError
from tenor.jobs.shrink import ShrinkOrder, shrink
from tenor.models import encoder
from tenor.pipelines.classification import Pipeline


@pytest.mark.parametrize(("weights", "apart"), [("int8", 0.02), ("bfloat16", 0.01), ("float32", 0)])
def test_answers_stay(model, reviews, tmp_path, weights, apart):
    found = shrink(ShrinkOrder(str(model), tmp_path / "s", weights, str(reviews)))
    assert found["check"]["rows"] == 300
    eight = weights == "int8" and native.available() and native.traits().int8
    assert ("8 bits" in found["check"]["kernel"]) == eight == ("(read in 8 bits)" in (tmp_path / "s" / "README.md").read_text())
    assert found["check"]["greatest_change"] <= apart and (found["check"]["greatest_change"] > 0) == (weights != "float32")
    assert abs(found["check"]["accuracy_after"] - found["check"]["accuracy_before"]) <= found["check"]["labels_changed"] / 300 <= 0.03
    one, other = store.read(model), store.read(tmp_path / "s")
    assert other.tokenizer == one.tokenizer and other.config["temperature"] == one.config["temperature"] != 1
    assert other.metrics["test"] == one.metrics["test"] and other.metrics["shrunk"]["weights"] == weights
    assert all(w.dtype == np.float32 and w.shape == one.weights[k].shape for k, w in other.weights.items())
    texts = ["early and late", "late", ""]
    shares = [Pipeline.rebuilt(s, precision="float32").probabilities(texts)[0] for s in (one, other)]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.02)
    if weights != "float32":
        assert set(os.listdir(tmp_path / "s")) == {"config.json", "tokenizer.json.gz", "model.safetensors", "metrics.json", "history.jsonl", "README.md"}
        least = {"int8": 2.3, "bfloat16": 1.7}[weights]  # 8 columns a row: its scale is half of what the row itself takes
        assert found["weight_bytes_before"] > least * found["weight_bytes"]
        assert found["folder_bytes"] == sum(p.stat().st_size for p in (tmp_path / "s").iterdir()) < found["folder_bytes_before"]
        assert f"Weights stored as {weights}" in (tmp_path / "s" / "README.md").read_text()


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_8_bits_are_read_in_8_bits_where_that_can_be(model, tmp_path, monkeypatch):
    monkeypatch.delenv("TENOR_KERNEL", raising=False)
    for weights in ("int8", "bfloat16"):
        shrink(ShrinkOrder(str(model), tmp_path / weights, weights))

    texts, _ = order_texts(40, 3)

    def eight(folder, precision="auto"):
        """As it says; where it says so, its answers must be those of 8 bits."""
        asked, exact = (Pipeline.rebuilt(store.read(folder), device="cpu", precision=p) for p in (precision, "float32"))
        said = "8 bits" in asked.path
        if said:
            in_8_bits = Pipeline.rebuilt(store.read(folder), device="cpu", precision="int8")
            np.testing.assert_array_equal(asked.logits(texts)[0], in_8_bits.logits(texts)[0])
            assert np.abs(asked.logits(texts)[0] - exact.logits(texts)[0]).max() > 1e-5
        return said

    for isa in ISAS:
        monkeypatch.setenv("TENOR_ISA", isa)
        assert eight(tmp_path / "int8") == native.traits().int8, isa
        assert not eight(tmp_path / "int8", precision="float32") and not eight(tmp_path / "bfloat16") and not eight(model)
    monkeypatch.delenv("TENOR_ISA")
    monkeypatch.setenv("TENOR_KERNEL", "reference")
    assert not eight(tmp_path / "int8")
    monkeypatch.delenv("TENOR_KERNEL")
    stored = store.read(tmp_path / "int8")
    stored.weights["encoder.recurrent.bias_hh_l0"][0] = np.inf  # 8 bits cannot say it
    assert "8 bits" not in Pipeline.rebuilt(stored, device="cpu").path
    monkeypatch.setattr(encoder, "MOST_TABLE_BYTES", 100)  # auto reads another way where words would not fit a table
    assert not eight(tmp_path / "int8")


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        shrink(ShrinkOrder(str(model), tmp_path / name))
    for name in ("tokenizer.json.gz", "model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "tokenizer.json.gz").read_bytes()[4:8] == bytes(4)  # no time of day


def test_the_command_says_what_it_came_to(tenor, model, reviews):
    done = tenor("shrink", model, "--out", "s", "--check", reviews)
    assert done.code == 0, done.err
    assert "Weights stored as int8" in done.out and "of 300 answers changed" in done.out and "MB in all instead of" in done.out
    plain = tenor("shrink", "s", "--out", "b", "--weights", "bfloat16", "--json")
    assert plain.json["weights"] == "bfloat16" and "check" not in plain.json
    assert "s has int8 weights already, so nothing would change." in tenor("shrink", "s", "--out", "again").err
    assert tenor("predict", "late", "-m", "s", "--json").json[0]["label"] == tenor("predict", "late", "-m", model, "--json").json[0]["label"]
    assert "stored as int8" in tenor("info", "s").out and "What that cost was not measured" in tenor("info", "b").out
    assert tenor("shrink", model, "--out", "s").code == 2  # nothing is overwritten unasked


def test_mistakes(model, tmp_path):
    with pytest.raises(TenorError, match="does not exist"):
        shrink(ShrinkOrder("nowhere", tmp_path / "s"))
    with pytest.raises(TenorError, match="into another folder"):
        shrink(ShrinkOrder(str(model), model.parent / "x" / ".." / model.name, overwrite=True))
    assert store.read(model).config.get("weights", "float32") == "float32"
    with pytest.raises(TenorError, match="precision is one of auto, float32, bfloat16, int8; got 'fp16'"):
        Pipeline.rebuilt(store.read(model), precision="fp16")
    with pytest.raises(TenorError, match="No such file"):
        shrink(ShrinkOrder(str(model), tmp_path / "s", check="nowhere.csv"))
    with pytest.raises(TenorError, match="got 'int4'"):
        shrink(ShrinkOrder(str(model), tmp_path / "s", "int4"))
    with pytest.raises(TenorError, match="got 3 names"):
        shrink(ShrinkOrder(str(model), tmp_path / "s", labels=("a", "b", "c")))
    stored = store.read(model)
    store.write(tmp_path / "tagger", replace(stored, config=stored.config | {"task": "tag"}), {}, False)
    with pytest.raises(TenorError, match="tagger tags words"):
        shrink(ShrinkOrder(str(tmp_path / "tagger"), tmp_path / "s", check="reviews.csv"))
    with pytest.raises(TenorError, match="name kept for a model of Tenor"):
        shrink(ShrinkOrder(str(model), tmp_path.relative_to(tmp_path) / "reviews-en"))
    assert os.listdir(tmp_path) == ["tagger"]


def test_labels_may_get_other_names(model, tmp_path):
    shrink(ShrinkOrder(str(model), tmp_path / "s", labels=("bad", "good")))
    assert store.read(tmp_path / "s").config["labels"] == ["bad", "good"]


def test_damage_is_refused(model, tmp_path):
    shrink(ShrinkOrder(str(model), tmp_path / "s"))
    kept = (tmp_path / "s" / "tokenizer.json.gz").read_bytes()
    (tmp_path / "s" / "tokenizer.json.gz").write_bytes(kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:])
    with pytest.raises(TenorError, match="cut, changed or damaged"):
        store.read(tmp_path / "s")
    (tmp_path / "s" / "tokenizer.json.gz").unlink()
    (tmp_path / "s" / "tokenizer.json").write_text("{}")
    with pytest.raises(TenorError, match=r"tokenizer.json.gz is missing"):
        store.read(tmp_path / "s")


EMPTY = gzip.compress(b"{}", mtime=0)  # a fixed time: two workers must collect the same names


@pytest.mark.parametrize("broken", [b"\x1f\x8b no", EMPTY[:-12] + b"\xff" * 12, EMPTY[:-6]], ids=["header", "middle", "end"])
def test_a_tokenizer_that_cannot_be_unpacked_is_refused(pipeline, tmp_path, monkeypatch, broken):
    monkeypatch.setattr(store.gzip, "compress", lambda *_, **__: broken)
    store.write(tmp_path / "m", pipeline.stored({"weights": "int8"}, {}, []), {})
    with pytest.raises(TenorError, match="cannot be unpacked"):
        store.read(tmp_path / "m")


def test_a_tokenizer_that_grows_without_end_is_refused(pipeline, tmp_path, monkeypatch):
    stored = pipeline.stored({"weights": "int8"}, {}, [])
    monkeypatch.setattr(store, "_LIMIT", 100_000)
    store.write(tmp_path / "m", store.Stored(stored.config, " " * 10**6, stored.weights, {}, []), {})
    with pytest.raises(TenorError, match="holds more than"):
        store.read(tmp_path / "m")
