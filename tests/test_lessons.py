"""What the model in the box learns from besides reviews: edits become rows of the other label, and nothing that is measured is among them."""

import importlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tenor import TenorError
from tenor.data.text import clean

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TEXT = 'It begins slowly. "What a perfect bore!" said my friend. No. I agree with him, alas... The end is worse.'


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("lessons")


@pytest.mark.parametrize(
    ("edits", "sentences"),
    [
        ([["bore", "joy"]], [('"What a perfect bore!', '"What a perfect joy!')]),
        ([["alas", "gladly"], ["agree", "am one"], ["worse", "better"]], [("I agree with him, alas...", "I am one with him, gladly..."), ("The end is worse.", "The end is better.")]),
        ([["slowly. \"What a perfect bore", "well. \"What fun"]], [('It begins slowly. "What a perfect bore!', 'It begins well. "What fun!')]),
        ([["No", "Yes"]], []),  # too short to be a lesson by itself
    ],
)  # fmt: skip
def test_sentences_that_an_edit_changes(made, edits, sentences):
    assert made.turned_sentences(TEXT, edits) == sentences


def folder_of(tmp_path, key, edits, pair):
    (tmp_path / "review_edits.jsonl").write_text(json.dumps({"text_sha256": key, "label": "negative", "edits": [[TEXT.index(old), TEXT.index(old) + len(old), new] for old, new in edits]}) + "\n")
    (tmp_path / "short_pairs.jsonl").write_text(json.dumps({"about": "place", "positive": pair[0], "negative": pair[1]}) + "\n")
    return tmp_path


def test_an_edited_review_its_sentences_and_both_sides_of_a_pair_are_lessons(made, tmp_path):
    cases = importlib.import_module("minimal_pairs")
    folder = folder_of(tmp_path, cases.hash_of(TEXT), [["worse", "better"]], ("I would go again", "I would not go again"))
    assert made.lessons(["Another.", TEXT], folder) == [
        (TEXT.replace("worse", "better"), "positive"),
        ("The end is worse.", "negative"),
        ("The end is better.", "positive"),
        ("I would go again", "positive"),
        ("I would not go again", "negative"),
    ]
    with pytest.raises(TenorError, match="1 of 1 are not among the texts"):
        made.lessons(["Another."], folder)


@pytest.mark.skipif(
    not os.environ.get("TENOR_DATA") or not (Path(os.environ["TENOR_DATA"]) / "imdb.parquet").exists(), reason="TENOR_DATA names no folder with imdb.parquet"
)
def test_nothing_that_is_measured_is_a_lesson(made, tmp_path):
    made.write(tmp_path / "rows.parquet")
    rows = made.pq.read_table(tmp_path / "rows.parquet").to_pylist()
    parts = {part: {r["text"].casefold() for r in rows if r["split"] == part} for part in ("train", "validation", "test")}
    assert len(parts["test"]) > 4_900 and len(parts["validation"]) > 1_900 and not parts["train"] & (parts["test"] | parts["validation"])
    cases = importlib.import_module("minimal_pairs")
    edits = cases.json_lines(made.LESSONS / "review_edits.jsonl")
    read, keys = {r["text"] for r in rows}, {row["text_sha256"] for row in edits}
    measured_reviews = {clean(p.original) for p in (*cases.of_reviews(), *cases.revisions())}
    assert not keys & set(map(cases.hash_of, measured_reviews)) and len(keys) == len(edits) == made.counts()["edited_reviews"]
    assert Counter(row["label"] for row in edits)["negative"] == len(edits) / 2
    short = [row[side] for row in cases.json_lines(made.LESSONS / "short_pairs.jsonl") for side in ("positive", "negative")]
    measured = {row["text"] for row in cases.json_lines(cases.CASES / "short_opinions.jsonl")} | {text for p in cases.written() for text in (p.original, p.edited)}
    assert len(set(short)) == len(short) and not set(short) & measured and set(short) <= read
    assert not read & {clean(p.edited) for p in (*cases.of_reviews(), *cases.revisions())}
