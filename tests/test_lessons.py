"""What the model in the box learns from besides reviews: edits become rows of the other label, and nothing that is measured is among them."""

import json
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest

from conftest import needs_reviews
from tenor import TenorError
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows
from tenor.data.text import clean

TEXT = 'It begins slowly. "What a bore!" said my friend. No. I agree with him, alas... The end is worse.'


@pytest.fixture
def made(module_of_benchmarks):
    return module_of_benchmarks("lessons")


@pytest.fixture
def cases(module_of_benchmarks):
    return module_of_benchmarks("minimal_pairs")


@pytest.mark.parametrize(
    ("edits", "sentences"),
    [
        ([["bore", "joy"]], [('"What a bore!', '"What a joy!')]),
        ([["alas", "gladly"], ["agree", "am one"], ["worse", "better"]], [("I agree with him, alas...", "I am one with him, gladly..."), ("The end is worse.", "The end is better.")]),
        ([['slowly. "What a bore', 'well. "What fun']], [('It begins slowly. "What a bore!', 'It begins well. "What fun!')]),
    ],
)
def test_sentences_that_an_edit_changes(made, edits, sentences):
    assert made.turned_sentences(TEXT, edits) == sentences


WHOLE = "Nine sentences or one, it is all the same to me. I will see all nine of them again."


def folder_of(tmp_path, hash_of, edits, pair):
    key = hash_of(TEXT)
    (tmp_path / "review_edits.jsonl").write_text(json.dumps({"text_sha256": key, "label": "negative", "edits": [[TEXT.index(old), TEXT.index(old) + len(old), new] for old, new in edits]}) + "\n")
    (tmp_path / "whole_edits.jsonl").write_text(json.dumps({"text_sha256": hash_of(WHOLE), "label": "positive", "edits": [[WHOLE.index("will"), WHOLE.index("will") + 4, "would sooner not"]]}) + "\n")
    (tmp_path / "short_pairs.jsonl").write_text(json.dumps({"about": "place", "positive": pair[0], "negative": pair[1]}) + "\n")
    return tmp_path


def test_an_edited_review_its_longer_sentences_and_both_sides_of_a_pair_are_lessons(made, cases, tmp_path, monkeypatch):
    folder = folder_of(tmp_path, cases.hash_of, [["bore", "joy"], ["worse", "better"]], ("I would go again", "I would not go again"))
    assert made.lessons(["Another.", TEXT, WHOLE], folder) == [
        (TEXT.replace("worse", "better").replace("bore", "joy"), "positive"),
        (WHOLE.replace("will", "would sooner not"), "negative"),  # its sentences are none
        ("I would go again", "positive"),
        ("I would not go again", "negative"),
    ]
    monkeypatch.setattr(made, "SHORTEST", 4)  # "What a bore! has three words
    assert made.lessons([WHOLE, TEXT], folder)[1:3] == [("The end is worse.", "negative"), ("The end is better.", "positive")]
    assert len(made.lessons([TEXT, WHOLE], folder)) == 6
    with pytest.raises(TenorError, match="2 of 2 are not among the texts"):
        made.lessons(["Another."], folder)


@needs_reviews
def test_nothing_that_is_measured_is_a_lesson(made, cases, tmp_path):
    """Nor nearly: no lesson has three runs of five words in common with a case that was written for the project, nor half of its runs of eight with a held-out review."""
    path = tmp_path / "rows.parquet"
    made.write(path)
    rows = pq.read_table(path).to_pylist()
    texts, labels = [r["text"] for r in rows], Counter(r["label"] for r in rows)
    edits = [row for name in made.EDITS for row in cases.json_lines(made.LESSONS / name)]
    short = cases.json_lines(made.LESSONS / "short_pairs.jsonl")
    assert made.counts() == {"edited_reviews": len(edits), "short_pairs": len(short)}
    sides = [Counter(row["label"] for row in cases.json_lines(made.LESSONS / name)) for name in made.EDITS]
    apart = [abs(side["positive"] - side["negative"]) for side in sides]
    assert apart[0] < 10 and apart[1] < 20 and abs(labels["positive"] - labels["negative"]) <= sum(apart)  # sentences and short pairs are in balance
    pairs = [*cases.of_reviews(), *cases.revisions()]
    keys = {row["text_sha256"] for row in edits}
    assert len(keys) == len(edits) and not keys & {cases.hash_of(clean(p.original)) for p in pairs}
    reviews = read_rows(resolve("imdb")).rows
    by_key = {cases.hash_of(r.text): r for r in reviews}
    assert all(row["label"][:3] == by_key[row["text_sha256"]].label for row in edits)
    written = [row["text"] for row in cases.json_lines(cases.CASES / "short_opinions.jsonl")] + [t for p in cases.written() for t in (p.original, p.edited)]
    held_out = [r.text for r in reviews[-5000:]]
    assert not {t.casefold() for t in texts} & {clean(t).casefold() for t in (*written, *held_out, *(p.edited for p in pairs))}
    known = {run for t in written for run in runs(t, 5)}
    assert all(len(runs(row[side], 5) & known) < 3 for row in short for side in ("positive", "negative"))
    known = {run for t in held_out for run in runs(t, 8)}
    assert all(len(runs(t, 8) & known) <= len(runs(t, 8)) / 2 for t in texts if len(t.split()) > 30)


def runs(text, length):
    """All runs of so many words."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
