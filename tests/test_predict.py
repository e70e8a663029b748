"""Files through a model: formats, columns, order, size, and what must never be lost."""

import csv
import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenor.data.tables import open_table
from tenor.errors import TenorError
from tenor.jobs import predict
from tenor.jobs.predict import predict_file, predict_lines, predict_texts

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
    result = predict_file(pipeline, source, out, None, False, False)
    got = read(out)
    assert [{k: r[k] for k in ROWS[0]} for r in got] == ROWS
    wanted = predict_texts(pipeline, [r["text"] for r in ROWS])
    for row, answer in zip(got, wanted, strict=True):
        assert row["label"] == answer["label"]
        assert float(row["probability"]) == pytest.approx(answer["probability"], abs=1e-6)
        assert int(row["tokens_cut"]) == answer["tokens_cut"]
    assert wanted[3]["tokens_cut"] == 11
    assert result["rows"] == 4 and result["texts_cut"] == 1
    assert os.listdir(tmp_path) in ([source.name, out.name], [out.name, source.name])


def test_blocks_do_not_change_the_answers(tmp_path, pipeline, monkeypatch):
    rng = np.random.default_rng(1)
    rows = [{"n": i, "text": " ".join(rng.choice(["early", "late", "food", "it"], rng.integers(0, 30)))} for i in range(50)]
    write(tmp_path / "in.jsonl", rows)
    predict_file(pipeline, tmp_path / "in.jsonl", tmp_path / "whole.jsonl", None, False, False)
    monkeypatch.setattr(predict, "BLOCK_ROWS", 7)
    predict_file(pipeline, tmp_path / "in.jsonl", tmp_path / "blocks.jsonl", None, False, False)
    whole, blocks = read(tmp_path / "whole.jsonl"), read(tmp_path / "blocks.jsonl")
    assert [r["n"] for r in blocks] == list(range(50))
    np.testing.assert_allclose([r["probability"] for r in blocks], [r["probability"] for r in whole], atol=1e-6)


def test_a_column_called_label_is_kept(tmp_path, pipeline):
    write(tmp_path / "in.csv", [{"text": "early late", "label": "neg"}])
    assert predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)["added"] == ["predicted_label", "probability", "tokens_cut"]
    (row,) = read(tmp_path / "out.csv")
    assert row["label"] == "neg" and row["predicted_label"] in ("neg", "pos")


def test_parquet_keeps_its_types_and_jsonl_its_odd_keys(tmp_path, pipeline):
    pq.write_table(pa.table({"text": ["early", None], "when": pa.array([1, None], pa.timestamp("ms")), "tags": [["a"], []]}), tmp_path / "in.parquet")
    predict_file(pipeline, tmp_path / "in.parquet", tmp_path / "out.parquet", None, False, False)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.field("when").type == pa.timestamp("ms") and schema.field("tags").type == pa.list_(pa.string())
    (tmp_path / "in.jsonl").write_text('{"text": "early"}\n{"text": "late", "more": {"a": [1]}}\n')
    predict_file(pipeline, tmp_path / "in.jsonl", tmp_path / "out.jsonl", None, False, False)
    assert read(tmp_path / "out.jsonl")[1]["more"] == {"a": [1]}


def test_mistakes_leave_nothing_behind(tmp_path, pipeline):
    write(tmp_path / "in.csv", ROWS)
    with open(tmp_path / "in.csv", "a") as f:
        f.write("one,two,three,four\n")
    with pytest.raises(TenorError, match="line 7"):
        predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)
    assert os.listdir(tmp_path) == ["in.csv"]
    assert predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.csv", None, True, False)["bad"] == ["line 7: it has 4 fields where the first line has 3"]
    with pytest.raises(TenorError, match="overwrite"):
        predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.csv", None, True, False)
    with pytest.raises(TenorError, match="two files"):
        predict_file(pipeline, tmp_path / "in.csv", tmp_path / "in.csv", None, True, True)
    with pytest.raises(TenorError, match=r"format: .csv"):
        predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.xlsx", None, True, True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_a_full_disk_is_said(pipeline, tmp_path):
    write(tmp_path / "in.csv", ROWS)
    (tmp_path / "out.csv.new").symlink_to("/dev/full")
    with pytest.raises(TenorError, match="No space left"):
        predict_file(pipeline, tmp_path / "in.csv", tmp_path / "out.csv", None, False, False)
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_pipe_is_answered_line_by_line(pipeline):
    read_so_far = 0

    def lines():
        nonlocal read_so_far
        for i in range(1000):
            read_so_far = i + 1
            yield "early late\n"

    answers = predict_lines(pipeline, lines())
    assert next(answers)[0] == "early late"
    assert read_so_far == 1  # the first answer does not wait for a second line
    assert len(list(answers)) == 999
