"""The model in the box: found by its name, said on the screen, a start for trainings; and the one that ships, where it is there."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import commands
import tenor as package
from tenor import Classifier, TenorError, store
from tenor.box import names
from tenor.box.names import REVIEWS, model_folder, present
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows
from tenor.jobs.evaluate import seen_in_training
from tenor.jobs.shrink import ShrinkOrder, shrink
from tenor.models.classify import read_logits, shares
from tenor.pipelines.classification import Pipeline

SHIPPED = names.FOLDER / REVIEWS
MOST_BYTES = 8_000_000


@pytest.fixture
def box(tmp_path, model, monkeypatch) -> Path:
    """A box with a tiny model in it."""
    shrink(ShrinkOrder(str(model), tmp_path / "box" / REVIEWS))
    monkeypatch.setattr(names, "FOLDER", tmp_path / "box")
    return tmp_path / "box"


def run(box, *arguments, stdin=""):
    """A command in a process of its own that has this box, in the folder beside it."""
    code = f"import pathlib; from tenor.box import names; names.FOLDER = pathlib.Path({str(box)!r}); from tenor.cli import main; main()"
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    return commands.run(arguments, box.parent, stdin, environment, code)


def test_commands_without_a_model_use_it_and_say_so_once(box, reviews, model):
    plain = run(box, "predict", "late", "early")
    assert plain.returncode == 0 and plain.stderr.count("Model: reviews-en, which ships with Tenor") == 1 and len(plain.stdout.splitlines()) == 2
    named = run(box, "predict", "late", "-m", REVIEWS, "--json")
    assert "ships" not in named.stdout + named.stderr
    assert json.loads(named.stdout)[0]["label"] == json.loads(run(box, "predict", "late", "-m", model, "--json").stdout)[0]["label"]
    piped = run(box, "predict", "-i", "-", stdin="late\nearly\n")
    assert len(piped.stdout.splitlines()) == 2 and piped.stderr.count("ships with Tenor") == 1  # answers alone go down the pipe
    assert run(box, "predict", "-i", reviews, "-o", "answers.csv").returncode == 0
    assert "ships with Tenor" in run(box, "evaluate", reviews).stderr and "ships" not in run(box, "evaluate", reviews, "-m", model).stderr
    here = run(box, "info")
    assert "engine:" in here.stdout and "reviews-en: classify" in here.stdout
    assert json.loads(run(box, "info", "--json").stdout)["models"] == {REVIEWS: str(box / REVIEWS)}
    for named in ([REVIEWS], ["-m", REVIEWS]):
        assert json.loads(run(box, "info", *named, "--json").stdout)["config"]["weights"] == "int8"


def test_the_name_wins_over_a_folder_of_that_name(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / REVIEWS).mkdir()
    assert model_folder(REVIEWS) == box / REVIEWS
    assert model_folder(f"./{REVIEWS}") == model_folder(Path(REVIEWS)) == Path(REVIEWS)
    assert "is no model folder" in run(box, "predict", "late", "-m", f"./{REVIEWS}").stderr
    (tmp_path / REVIEWS).rmdir()
    with pytest.raises(TenorError, match="name kept for a model of Tenor"):
        store.check_free(Path(REVIEWS), False)
    store.check_free(tmp_path / REVIEWS, False)  # a name alone is taken, not every folder that ends in it


def test_a_training_starts_from_it(box, reviews):
    done = run(box, "train", reviews, "--from", REVIEWS, "--out", "mine", "--epochs", 1, "--no-baseline")
    assert done.returncode == 0, done.stderr
    assert "Training starts from reviews-en: tokens, sizes and weights, and answers" in done.stdout
    made = store.read(box.parent / "mine")
    assert made.config["start"] == REVIEWS and made.tokenizer == store.read(box / REVIEWS).tokenizer and "weights" not in made.config
    assert "--hidden cannot be chosen" in run(box, "train", reviews, "--from", REVIEWS, "--hidden", 4, "--out", "other").stderr
    taken = run(box, "train", reviews, "--out", REVIEWS, "--resume")
    assert taken.returncode == 2 and "Choose another --out" in taken.stderr


@pytest.mark.usefixtures("box")
def test_python_has_it_too():
    loaded = package.load(REVIEWS, precision="float32")
    assert loaded.predict(["late"])[0] in ("negative", "positive")
    texts = [f"{w} it was" for w in ("early", "late")] * 30
    model = Classifier(start=REVIEWS, epochs=1).fit(texts, ["positive", "negative"] * 30)
    assert model.pipeline_.model.hidden == 8 == loaded.pipeline_.model.hidden


def test_an_install_without_it_says_so(box, reviews):
    shutil.rmtree(box / REVIEWS)
    assert present() == {REVIEWS: None}
    with pytest.raises(TenorError, match=r"not in this install.*Name a model folder; one is made"):
        package.load(REVIEWS)
    for command in (["predict", "late"], ["evaluate", reviews], ["train", reviews, "--from", REVIEWS], ["info", REVIEWS]):
        done = run(box, *command)
        assert done.returncode == 2 and "not in this install" in done.stderr and "Traceback" not in done.stderr
    assert "reviews-en: not in this install" in run(box, "info").stdout
    assert sorted(os.listdir(box.parent)) == ["box"]


def test_a_name_mistyped_is_guessed():
    for wrong in ("review-en", "reviews_en", "Reviews-EN"):
        with pytest.raises(TenorError, match="did you mean 'reviews-en'"):
            model_folder(wrong)
    assert model_folder("nowhere") == Path("nowhere")


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the model that ships is not in this checkout; `make box` makes it")
def test_what_ships_is_small_and_answers():
    assert store.size(SHIPPED) <= MOST_BYTES
    assert set(os.listdir(SHIPPED)) == {"config.json", "tokenizer.json.gz", "model.safetensors", "metrics.json", "history.jsonl", "README.md"}
    stored = store.read(SHIPPED)
    assert stored.config["labels"] == ["negative", "positive"] and stored.config["temperature"] != 1
    pipeline = Pipeline.rebuilt(stored)
    shares, _ = pipeline.probabilities(["A wonderful film, one of the best I have seen this year.", "Terrible acting and a boring plot. A waste of time."])
    assert shares[0, 1] > 0.7 and shares[1, 0] > 0.7
    everything = json.dumps([stored.config, stored.metrics]) + (SHIPPED / "README.md").read_text()
    assert not any(place in everything for place in ("/home/", "/root/", str(Path.cwd())))
    for section in ("Data", "Numbers", "Known failures", "Limits"):
        assert f"## {section}" in everything
    assert "{" not in (SHIPPED / "README.md").read_text()


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the model that ships is not in this checkout; `make box` makes it")
def test_where_its_small_networks_answer_alone_the_large_one_would_not_have_turned_them():
    pipeline = Pipeline.rebuilt(store.read(SHIPPED))
    ids = pipeline.tokenizer.encode([row.text for row in read_rows(resolve("sample")).rows])
    alone = shares(read_logits(pipeline.network, pipeline.read(ids))).max(1) > pipeline.sure
    asked = pipeline.probabilities_of(ids)
    pipeline.sure = 1.0
    always = pipeline.probabilities_of(ids)
    assert 50 < alone.sum() < len(ids) / 2  # short reviews of all kinds: most are not as sure as film reviews
    assert (asked.argmax(1) != always.argmax(1)).sum() <= 0.02 * alone.sum()
    assert np.abs(asked - always)[~alone].max() < 1e-3 and np.abs(asked - always)[alone].max() > 0.01


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the model that ships is not in this checkout; `make box` makes it")
def test_what_is_written_of_it_is_what_was_measured():
    """The card has each row that benchmarks/box.py measured, the README the numbers that a newcomer reads first, and an evaluation of the reviews that it learnt from is told of."""
    root = Path(__file__).parent.parent
    found = json.loads((root / "benchmarks" / "results" / "box.json").read_text())
    card, readme = (SHIPPED / "README.md").read_text(), (root / "README.md").read_text()
    held_out, opinions = found["held_out_metrics"], found["opinions"]
    for row in (held_out, opinions):
        assert f"| {row['accuracy']:.4f} ({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}) |" in card
    assert found["pairs"] and all(f"| {row['pairs']}, {row['rows']} | {row['original']:.3f} | {row['edited']:.3f} (" in card for row in found["pairs"])
    said = next(line for line in readme.splitlines() if "`reviews-en` is in the package" in line)
    assert f"{held_out['accuracy']:.1%}".replace("%", " %") in said and f"calibration error {held_out['calibration_error']:.3f}" in said
    assert f"{opinions['accuracy']:.0%}".replace("%", " %") in readme and f"{found['pairs'][0]['edited']:.2f} of the edits" in readme
    means = {name: sum(values) / len(values) for name, values in json.loads((root / "benchmarks" / "results" / "sample.json").read_text())["accuracy"].items()}
    assert f"cross-validated: {means['from_reviews_en']:.3f}, a linear model {means['linear']:.3f}, from nothing {means['from_nothing']:.3f}," in readme
    assert f"its own test {found['sample_start']:.2f}, {found['sample_linear']:.2f} and {found['sample_scratch']:.2f}," in readme
    kinds, linear = found["kinds"], next(row for row in found["pairs"] if "linear" in row["pairs"])
    assert f"irony and understatement worst ({kinds['irony']:.2f} and {kinds['understated']:.2f})" in readme and f"learnt from them too: {linear['edited']:.2f})" in readme
    stored = store.read(SHIPPED)
    assert held_out["accuracy"] == stored.metrics["shrunk"]["check"]["accuracy_after"] and seen_in_training(stored, REVIEWS, "imdb", None)
    assert "where copies of them stand in my.csv" in seen_in_training(stored, REVIEWS, "my.csv", None)[0] and seen_in_training(stored, "my-copy", "my.csv", None) == []
