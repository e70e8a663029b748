"""Files through a model: formats, columns, order, size, and what must never be lost."""

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenor.data.tables import open_table
from tenor.errors import TenorError
from tenor.jobs import predict
from tenor.jobs.answers import Labels
from tenor.jobs.predict import predict_file, predict_pipe

ROWS = [
    {"id": "7", "text": "early, it was\nlate", "note": 'a "quoted" word'},
    {"id": "3", "text": "late and <br /> early &amp; so", "note": ""},
    {"id": "9", "text": "", "note": "empty"},
    {"id": "1", "text": "early " * 40 + "late", "note": "long"},
]


def write(path, rows):
    columns = list(rows[0])
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as f:
            out = csv.DictWriter(f, columns, delimiter="\t" if path.suffix == ".tsv" else ",")
            out.writeheader()
            out.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


def read(path):
    from tenor.data.files import plain_entry
    from tenor.data.tables import Report

    return [r.values for r in open_table(plain_entry(path)).records(None, Report())]


@pytest.mark.parametrize("kind_in", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind_out", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_keeps_columns_values_and_order(tmp_path, pipeline, kind_in, kind_out):
    source, out = tmp_path / f"in.{kind_in}", tmp_path / f"out.{kind_out}"
    write(source, ROWS)
    result = predict_file(Labels(pipeline), source, out, None, False, False)
    got = read(out)
    assert [{k: r[k] for k in ROWS[0]} for r in got] == ROWS
    wanted = Labels(pipeline).answers([r["text"] for r in ROWS])
    for row, answer in zip(got, wanted, strict=True):
        assert row["label"] == answer["label"]
        assert float(row["probability"]) == pytest.approx(answer["probability"], abs=1e-6)
        assert int(row["tokens_cut"]) == answer["tokens_cut"]
    assert wanted[3]["tokens_cut"] == 11
    assert result["rows"] == 4 and result["texts_cut"] == 1
    assert os.listdir(tmp_path) in ([source.name, out.name], [out.name, source.name])


def test_texts_of_words_that_it_does_not_know_are_told(pipeline):
    known = pipeline.tokenizer
    answerer = Labels(pipeline)
    answers = answerer.answers(["early late xyzzy", "xyzzy late", "qwrt xyzzy", "", "early"])
    assert [(a["words"], a["words_unknown"], a["mostly_unknown"]) for a in answers] == [(3, 1, False), (2, 1, True), (2, 2, True), (0, 0, False), (1, 0, False)]
    assert all(known.encode(["xyzzy qwrt"]).values == 1)
    assert "1 of 2 words unknown" in answerer.line("xyzzy late", answers[1]) and "unknown" not in answerer.line("early late xyzzy", answers[0])
    assert answerer.totals()["texts_unknown"] == 2
    assert any(w.startswith("2 texts with half of the words or more unknown to the model") for w in answerer.warnings())
    assert not any("unknown" in w for w in Labels(pipeline).warnings())


def test_blocks_do_not_change_the_answers(tmp_path, pipeline, monkeypatch):
    rng = np.random.default_rng(1)
    rows = [{"n": i, "text": " ".join(rng.choice(["early", "late", "food", "it"], rng.integers(0, 30)))} for i in range(50)]
    write(tmp_path / "in.jsonl", rows)
    predict_file(Labels(pipeline), tmp_path / "in.jsonl", tmp_path / "whole.jsonl", None, False, False)
    monkeypatch.setattr(predict, "BLOCK_ROWS", 7)
    predict_file(Labels(pipeline), tmp_path / "in.jsonl", tmp_path / "blocks.jsonl", None, False, False)
    whole, blocks = read(tmp_path / "whole.jsonl"), read(tmp_path / "blocks.jsonl")
    assert [r["n"] for r in blocks] == list(range(50))
    np.testing.assert_allclose([r["probability"] for r in blocks], [r["probability"] for r in whole], atol=1e-6)


def test_a_column_called_label_is_kept(tmp_path, pipeline):
    write(tmp_path / "in.csv", [{"text": "early late", "label": "neg"}])
    assert predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)["added"] == ["predicted_label", "probability", "tokens_cut", "mostly_unknown"]
    (row,) = read(tmp_path / "out.csv")
    assert row["label"] == "neg" and row["predicted_label"] in ("neg", "pos")


def test_parquet_keeps_its_types_and_jsonl_its_odd_keys(tmp_path, pipeline):
    pq.write_table(pa.table({"text": ["early", None], "when": pa.array([1, None], pa.timestamp("ms")), "tags": [["a"], []]}), tmp_path / "in.parquet")
    predict_file(Labels(pipeline), tmp_path / "in.parquet", tmp_path / "out.parquet", None, False, False)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.field("when").type == pa.timestamp("ms") and schema.field("tags").type == pa.list_(pa.string())
    (tmp_path / "in.jsonl").write_text('{"text": "early"}\n{"text": "late", "more": {"a": [1]}}\n')
    predict_file(Labels(pipeline), tmp_path / "in.jsonl", tmp_path / "out.jsonl", None, False, False)
    assert read(tmp_path / "out.jsonl")[1]["more"] == {"a": [1]}


def test_mistakes_leave_nothing_behind(tmp_path, pipeline):
    write(tmp_path / "in.csv", ROWS)
    with open(tmp_path / "in.csv", "a") as f:
        f.write("one,two,three,four\n")
    with pytest.raises(TenorError, match="line 7"):
        predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)
    assert os.listdir(tmp_path) == ["in.csv"]
    assert predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.csv", None, True, False)["bad"] == ["line 7: it has 4 fields where the first line has 3"]
    with pytest.raises(TenorError, match="overwrite"):
        predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.csv", None, True, False)
    with pytest.raises(TenorError, match="two files"):
        predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "in.csv", None, True, True)
    with pytest.raises(TenorError, match=r"format: .csv"):
        predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.xlsx", None, True, True)


def test_a_full_disk_is_said(pipeline, tmp_path):
    """A limit on the size of files stands in for it."""
    resource = pytest.importorskip("resource")
    write(tmp_path / "in.csv", ROWS * 50)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
        with pytest.raises(TenorError, match="Nothing was left half-written"):
            predict_file(Labels(pipeline), tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_pipe_is_answered_line_by_line(pipeline):
    out, into = os.pipe()
    answers = predict_pipe(Labels(pipeline), out)
    for text in ("early late", "late \xe9 early"):
        os.write(into, text.encode("latin-1") + b"\r\n")
        assert next(answers)[0] == text  # no answer waits for a later line
    os.write(into, b"one\n\nthree\nlast")
    os.close(into)
    assert [text for text, _ in answers] == ["one", "", "three", "last"]
    os.close(out)


def test_columns_are_never_lost_or_overwritten(tmp_path, pipeline):
    write(tmp_path / "in.csv", [{"text": "early\rlate", "label": "a", "probability": "b", "n": "1"}])
    for source, out in (("in.csv", "2.csv"), ("2.csv", "3.csv"), ("3.csv", "4.parquet")):
        predict_file(Labels(pipeline), tmp_path / source, tmp_path / out, None, False, False)
    (row,) = read(tmp_path / "4.parquet")
    assert (row["text"], row["label"], row["probability"], row["n"]) == ("early\rlate", "a", "b", "1")
    assert {"predicted_label", "predicted_predicted_label", "predicted_predicted_predicted_label"} <= row.keys()
    late = '{"text": "a"}\n' * 100 + '{"text": "b", "label": "mine"}\n'
    (tmp_path / "late.jsonl").write_text(late)
    for out in ("late.out.jsonl", "late.csv", "late.parquet"):
        with pytest.raises(TenorError, match="Line 101 has a column that the first 100 lines have not: 'label'"):
            predict_file(Labels(pipeline), tmp_path / "late.jsonl", tmp_path / out, None, False, False)
    (tmp_path / "zero.jsonl").write_text('{"text": 0, "big": 1}\n{"text": null, "big": 123456789012345678901}\n')
    with pytest.raises(TenorError, match="one Parquet column"):
        predict_file(Labels(pipeline), tmp_path / "zero.jsonl", tmp_path / "zero.parquet", None, False, False)


def test_prediction_reads_a_text_as_training_did(pipeline):
    """What comes out of cleaning may look like a tag or an entity again, and must not be cleaned twice."""
    (answer,) = Labels(pipeline).answers(["early &lt;b&gt; late &amp;lt; early"])
    assert answer["tokens"] == len(pipeline.tokenizer.inner.encode("early <b> late &lt; early").ids)


def test_memory_stays_flat(tmp_path, model):
    """200 MB of texts take no more memory than 20 MB do."""
    peaks = []
    for times in (1, 10):
        with open(tmp_path / "in.csv", "w") as f:
            f.write("text\n")
            for i in range(times * 200):
                f.write(f"{i} {'early late food ' * 6600}\n")  # 100 KB a row
        code = "import resource; from tenor.cli import app; app(standalone_mode=False); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        arguments = ["predict", "-i", tmp_path / "in.csv", "-o", tmp_path / "out.csv", "-m", model, "--overwrite", "--json"]
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=300)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 60, peaks


def test_a_text_a_line_is_no_table(tenor, model, tmp_path):
    (tmp_path / "lines.txt").write_text("I loved it.\nlate and early\n")
    done = tenor("predict", "-i", "lines.txt", "-o", "out.csv", "-m", model)
    assert done.code == 2 and "named 'I loved it.'" in done.err and "tenor predict -i -" in done.err and not (tmp_path / "out.csv").exists()
    assert tenor("predict", "-i", "lines.txt", "-o", "out.csv", "-m", model, "--text", "I loved it.").code == 0
