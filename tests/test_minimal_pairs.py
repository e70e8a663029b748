"""Pairs of a real review and its edit: the reviews are found by their hashes, the edits fit or are refused."""

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import needs_reviews
from tenor import TenorError
from tenor.data.text import clean

TEXT = "Good cast.<br />The plot is good, I laughed; 8/10, and 8 again."


@pytest.fixture
def pairs(module_of_benchmarks):
    return module_of_benchmarks("minimal_pairs")


def files(folder, key, edits):
    """Reviews and one pair, as of_reviews takes them."""
    pq.write_table(pa.table({"label": ["unsup", "pos"], "text": ["Another text.", TEXT]}), folder / "reviews.parquet")
    (folder / "pairs.jsonl").write_text(json.dumps({"text_sha256": key, "label": "positive", "kind": "rating", "edits": edits}) + "\n")
    return folder / "reviews.parquet", folder / "pairs.jsonl"


def test_edits_turn_the_review_that_has_the_hash(pairs, tmp_path):
    edits = [["8/10, and 8", "3/10, and 3"], ["Good cast", "The plot is good, or so they say"], ["The plot is", "It is not"]]  # new words may hold the old ones of another edit
    found = pairs.of_reviews(*files(tmp_path, pairs.hash_of(TEXT), edits))
    turned = "The plot is good, or so they say.<br />It is not good, I laughed; 3/10, and 3 again."
    assert found == [("rating", TEXT, "positive", turned, "negative")]


@pytest.mark.parametrize(
    ("edits", "rule"),
    [([["8", "3"]], "'8' occurs 2 times"), ([["bad", "good"]], "'bad' occurs 0 times"), ([["plot is good", "plot"], ["good, I", "bad, I"]], "must not overlap")],
)
def test_edits_that_do_not_fit_are_refused(pairs, tmp_path, edits, rule):
    with pytest.raises(TenorError, match=rule):
        pairs.of_reviews(*files(tmp_path, pairs.hash_of(TEXT), edits))


def test_revisions_are_of_the_cleaned_text_and_have_the_other_label(pairs, tmp_path):
    cleaned = clean(TEXT)
    start = cleaned.index("8/10")
    reviews, table = files(tmp_path, pairs.hash_of(cleaned), [[start, start + 4, "2/10"], [0, 4, "Bad"]])
    assert pairs.revisions(reviews, table) == [("revision", cleaned, "positive", cleaned.replace("8/10", "2/10").replace("Good", "Bad"), "negative")]


def test_a_review_that_is_not_there_is_named(pairs, tmp_path):
    with pytest.raises(TenorError, match="1 of 1 are not among the texts, 0123456789abcdef is one"):
        pairs.of_reviews(*files(tmp_path, "0123456789abcdef", []))


@needs_reviews
def test_the_pairs_of_the_project_fit_their_reviews(pairs):
    found = pairs.of_reviews()
    assert len(found) >= 200 and len({p.original for p in found}) == len(found)
    assert len(set(Counter(p.original_label for p in found).values())) == 1
    assert all(p.edited not in (p.original, "") for p in found)
    table = pq.read_table(Path(os.environ["TENOR_DATA"]) / "imdb.parquet", columns=["label", "text"])
    label = dict(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert all(p.original_label.startswith(label[p.original]) for p in found)
    revised = pairs.revisions()
    assert len(revised) >= 100 and not {p.original for p in revised} & {clean(p.original) for p in found}
    labels = {(clean(text), of) for text, of in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)}
    assert all((p.original, p.original_label[:3]) in labels and p.edited not in (p.original, "") and p.edited_label != p.original_label for p in revised)
