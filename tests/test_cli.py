"""The commands as a user gives them, in a process of their own; wrong ones too."""

import csv
import json
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version

import pytest
import torch


def test_train_writes_everything_and_says_so(tenor, reviews, tmp_path):
    done = tenor("train", reviews, "--out", "m", "--hidden", 8, "--embedding", 8, "--epochs", 2, "--seed", 4)
    assert done.code == 0, done.err
    for said in ("Labels in the training rows", "epoch", "linear baseline", "95 % interval", "Kernel", "report.html", "tenor predict"):
        assert said in done.out
    assert set(os.listdir(tmp_path / "m")) == {"config.json", "tokenizer.json", "model.safetensors", "metrics.json", "history.jsonl", "curves.png", "curves.svg", "report.html", "README.md"}
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["test"]["rows"] == metrics["baseline"]["rows"] == 60
    assert metrics["data"]["train"] + metrics["data"]["validation"] + 60 == 300
    page = (tmp_path / "m" / "report.html").read_text()
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "").replace("https://matplotlib.org", "").replace("http://purl.org", "").replace("http://creativecommons.org", "")


def test_evaluate_predict_info_agree(tenor, model, reviews, tmp_path):
    result = tenor("evaluate", reviews, "-m", model, "--json").json
    assert {"rows", "accuracy", "accuracy_low", "accuracy_high", "f1", "auc", "confusion", "labels", "seconds"} <= result.keys()
    assert result["rows"] == 300 and result["labels"] == ["negative", "positive"]
    assert tenor("predict", "-i", reviews, "-o", "out.csv", "-m", model).code == 0
    with open(tmp_path / "out.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert sum(r["sentiment"] == r["label"] for r in rows) / 300 == pytest.approx(result["accuracy"])
    one = tenor("predict", rows[0]["review"], "-m", model, "--json").json[0]
    assert one["label"] == rows[0]["label"]
    assert one["probability"] == pytest.approx(float(rows[0]["probability"]), abs=0.01)  # bfloat16 on some machines
    piped = tenor("predict", "-i", "-", "-m", model, stdin=rows[0]["review"] + "\n\nlate\n").out.splitlines()
    assert [line.count("\t") for line in piped] == [2, 2, 2] and piped[0].startswith(rows[0]["label"])
    assert re.match("(native|torch) LSTM, ", tenor("info", model, "--json").json["kernel"])
    here = tenor("info", "--json").json
    assert re.match("built; |absent: ", here["engine"]) and "LSTM" in here["LSTM"] and here["torch"] in tenor("info").out
    assert "Kernel here" in tenor("info", model).out


def test_evaluation_takes_other_spellings_of_the_labels(tenor, model, reviews, tmp_path):
    (tmp_path / "short.tsv").write_text("text\tlabel\n" + "".join(f"{t}\t{'pos' if y == 'positive' else 'neg'}\n" for t, y in list(csv.reader(reviews.read_text().splitlines()))[1:]))
    assert tenor("evaluate", "short.tsv", "-m", model, "--json").json["confusion"] == tenor("evaluate", reviews, "-m", model, "--json").json["confusion"]


def test_evaluation_of_ratings_names_the_option_that_reads_them(tenor, model, tmp_path):
    (tmp_path / "rated.csv").write_text("text,stars\nearly and late,5\nlate and early,2\n")
    assert "--stars 5 or --stars 10 makes negative and positive of ratings" in tenor("evaluate", "rated.csv", "-m", model).err
    assert tenor("evaluate", "rated.csv", "-m", model, "--stars", "5", "--json").json["rows"] == 2
    (tmp_path / "ones.csv").write_text("text,stars\nawful food,1\ngreat food,1\n")
    assert "Every row has the label 1, which counts as positive." in tenor("evaluate", "ones.csv", "-m", model).out
    assert "counts as positive" not in tenor("evaluate", "ones.csv", "-m", model, "--stars", "5").out


def test_every_command_has_help_with_an_example(tenor):
    assert tenor("--help").code == 0
    for command in ("train", "evaluate", "predict", "info", "data"):
        done = tenor(command, "--help")
        assert done.code == 0 and "Example" in done.out and "--json" in done.out


@pytest.mark.parametrize(
    ("cores", "given", "found"), [(2, {}, "1000 None"), (2, {"GOMP_SPINCOUNT": "5"}, "5 None"), (2, {"OMP_WAIT_POLICY": "passive"}, "None passive"), (8, {}, "None None")]
)
def test_threads_may_sleep_before_torch_is_loaded(cores, given, found):
    code = f"import os, sys; os.cpu_count = lambda: {cores}; from tenor.cli import main; sys.modules['tenor.cli.app'].app = lambda: print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules); main()"
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout == f"{found} False\n"


def test_version(tenor):
    done = tenor("--version")
    assert done.code == 0 and done.out == f"tenor {version('tenor')}\n"


def test_data_finds_the_sample(tenor):
    assert tenor("data", "sample", "--json").json["path"].endswith("sample.csv")
    assert "did you mean 'imdb'" in tenor("data", "imdv").err


@pytest.mark.parametrize("name", ["official", "second", "range", "extra"])
def test_splits(tenor, tmp_path, reviews, name):
    rows = list(csv.reader(reviews.read_text().splitlines()))[1:]
    table = "text,label,split\n" + "".join(f'"{t}",{y},{"train" if i % 3 else "test"}\n' for i, (t, y) in enumerate(rows))
    (tmp_path / "all.csv").write_text(table)
    (tmp_path / "extra.csv").write_text("text,label\na lesson,positive\n")
    options, wanted = {
        "official": (["--split", "official"], 100),
        "second": (["--test", str(reviews), "--keep-overlap"], 300),
        "extra": (["--split", "official", "--extra", "extra.csv"], 100),
        "range": (["--split", "range", "--train-rows", 210, "--test-rows", 70], 70),
    }[name]
    done = tenor("train", "all.csv", "--out", "m", "--hidden", 4, "--embedding", 4, "--epochs", 1, "--no-baseline", "--json", *options)
    assert done.code == 0, done.err
    assert done.json["test"]["rows"] == wanted
    assert done.json["data"]["train"] + done.json["data"]["validation"] == {"official": 200, "second": 300, "range": 210, "extra": 201}[name]


def wrong_tar(path):
    with tarfile.open(path, "w:gz") as t:
        info = tarfile.TarInfo("../../evil.csv")
        t.addfile(info)


MISTAKES = {
    "missing file": (["train", "reviws.csv"], "No such file.*did you mean 'reviews.csv'"),
    "unknown data set": (["train", "imbd"], "did you mean 'imdb'"),
    "empty file": (["train", "empty.csv"], "empty"),
    "wrong column": (["train", "reviews.csv", "--text", "revew"], "No column 'revew'.*did you mean 'review'"),
    "one label": (["train", "one.csv"], "two different labels"),
    "label once": (["train", "once.csv"], "seen once"),
    "broken line": (["train", "broken.csv"], "line 4"),
    "binary": (["train", "binary.csv"], "binary data|zero byte"),
    "corrupt": (["train", "corrupt.csv.gz"], "Corrupt archive"),
    "climbing": (["train", "evil.tar.gz"], "climbs out"),
    "exists": (["train", "reviews.csv", "--out", "there"], "exists already.*--overwrite"),
    "too many rows": (["train", "reviews.csv", "--split", "range", "--train-rows", "45000", "--test-rows", "5000"], "300 labelled rows"),
    "bad number": (["train", "reviews.csv", "--hidden", "0"], "hidden must be at least 1"),
    "bad seed": (["train", "reviews.csv", "--seed", "-1"], "seed must be at least 0"),
    "bad validation": (["train", "reviews.csv", "--validation", "1.5"], "whole number of rows"),
    "small bpe": (["train", "reviews.csv", "--tokens", "bpe", "--vocab", "100"], "at least 258"),
    "huge network": (["train", "reviews.csv", "--hidden", "3000000"], "no memory for a network"),
    "not a model to overwrite": (["train", "reviews.csv", "--out", "docs", "--overwrite"], "stays as it is"),
    "here": (["train", "reviews.csv", "--out", "."], "exists already"),
    "no gpu": (["train", "reviews.csv", "--device", "cuda"], "--device cuda needs a GPU"),
    "no model": (["predict", "hello", "-m", "nowhere"], "does not exist"),
    "not a model": (["info", "there"], "is no model folder"),
    "text and file": (["predict", "hello", "-i", "x.csv", "-m", "{model}"], "one of the two"),
    "no output": (["predict", "-i", "reviews.csv", "-m", "{model}"], "add -o"),
    "no such file, no output": (["predict", "-i", "reviewz.csv", "-m", "{model}"], "No such file or folder: reviewz.csv"),
    "unknown label": (["evaluate", "labels.csv", "-m", "{model}"], "knows the labels negative, positive"),
    "no labels": (["evaluate", "none.csv", "-m", "{model}"], "No labelled row"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_exit_with_2_and_leave_nothing(tenor, tmp_path, reviews, model, mistake):
    arguments, message = MISTAKES[mistake]
    (tmp_path / "reviews.csv").write_bytes(reviews.read_bytes())
    (tmp_path / "empty.csv").touch()
    (tmp_path / "there").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "letter.txt").write_text("dear")
    (tmp_path / "one.csv").write_text("text,label\na,pos\nb,pos\n")
    (tmp_path / "once.csv").write_text("text,label\na,pos\nb,pos\nc,neg\n")
    (tmp_path / "broken.csv").write_text("text,label\na,pos\nb,neg\nc\nd,pos\n")
    (tmp_path / "binary.csv").write_bytes(b"text,label\n\x00\x01\x02,pos\n")
    (tmp_path / "corrupt.csv.gz").write_bytes(b"\x1f\x8b\x08\x00 not really")
    (tmp_path / "labels.csv").write_text("text,label\na,positve\nb,neg\n")
    (tmp_path / "none.csv").write_text("text,label\na,\nb,\n")
    wrong_tar(tmp_path / "evil.tar.gz")
    before = sorted(os.listdir(tmp_path))
    if mistake == "no gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = tenor(*[a.format(model=model) for a in arguments])
    assert done.code == 2, done.out + done.err
    assert re.search(message, done.err, re.S), done.err
    assert "Traceback" not in done.err and not done.err.startswith("\n")
    assert sorted(os.listdir(tmp_path)) == before


def test_json_errors_are_json_too(tenor):
    done = tenor("train", "nowhere.csv", "--json")
    assert done.code == 2 and "No such file" in json.loads(done.out)["error"]


def test_rows_that_a_model_was_trained_on_are_warned_of(tenor, model, reviews, tmp_path):
    seen = tenor("evaluate", reviews, "-m", model)
    assert "Warning: this model has seen 240 rows of" in seen.out and "Its result on 60 rows that it has not seen: tenor info " in seen.out
    assert any("has seen 240 rows" in note for note in tenor("evaluate", reviews, "-m", model, "--json").json["notes"])
    assert "has seen 240 rows" in tenor("shrink", model, "--out", "s", "--check", reviews).out and "has seen 240 rows" in (tmp_path / "s" / "README.md").read_text()
    (tmp_path / "new.csv").write_bytes(reviews.read_bytes())
    assert "has seen" not in tenor("evaluate", "new.csv", "-m", model).out


def test_the_test_part_of_an_official_split_is_new(tenor, reviews, tmp_path):
    head, *rows = reviews.read_text().splitlines()
    (tmp_path / "all.csv").write_text("\n".join([f"{head},split", *(f"{r},{'train' if i % 3 else 'test'}" for i, r in enumerate(rows))]))
    assert tenor("train", "all.csv", "--out", "m", "--hidden", 4, "--embedding", 4, "--epochs", 1, "--no-baseline", "--split", "official").code == 0
    assert "Rows that it has not seen: --part test" in tenor("evaluate", "all.csv", "-m", "m").out
    assert "has seen" in tenor("evaluate", "all.csv", "-m", "m", "--part", "train").out
    done = tenor("evaluate", "all.csv", "-m", "m", "--part", "test")
    assert done.code == 0 and "has seen" not in done.out


def test_a_part_that_is_not_there_is_said_with_those_that_are(tenor, model, reviews, tmp_path):
    assert "is of part test; it has no parts of its own" in tenor("evaluate", reviews, "-m", model, "--part", "test").err
    (tmp_path / "some.csv").write_text("text,label,split\nearly,positive,train\nlate,negative,dev\n")
    assert "its parts are dev, train. Leave --part out" in tenor("evaluate", "some.csv", "-m", model, "--part", "test").err


def test_empty_lines_of_a_pipe_are_counted_beside_the_answers(tenor, model):
    done = tenor("predict", "-i", "-", "-m", model, stdin="late\n\n  \n")
    assert "2 texts without words" in done.err and len(done.out.splitlines()) == 3 and "without words" not in done.out
    assert "without words" not in tenor("predict", "-i", "-", "-m", model, stdin="late\n").err


def test_one_is_not_said_as_many(tenor, model, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\nearly and late,positive\nlate,\n")
    said = tenor("evaluate", "one.csv", "-m", model).out
    assert "1 row without a label" in said and re.search(r"Accuracy .*, 1 row\)", said)
    assert "on 1 row accuracy" in tenor("shrink", model, "--out", "s", "--check", "one.csv").out


def test_skip_bad_goes_on_and_counts(tenor, tmp_path, reviews):
    lines = reviews.read_text().splitlines()
    lines[7:7] = ["only one field", "a,b,c,d"]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    done = tenor("train", "r.csv", "--out", "m", "--hidden", 4, "--embedding", 4, "--epochs", 1, "--no-baseline", "--skip-bad", "--json")
    assert "2 broken lines left out: line 8" in " ".join(done.json["data"]["sentences"])
