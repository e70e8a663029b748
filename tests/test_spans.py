"""Spans by hand, and against a second way to count them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenor.data.spans import Span, in_iob2, marks_spans, span_scores, spans, with_ends, without_ends


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-NP I-NP O B-VP", "NP0-2 VP3-4"),  # IOB2
        ("I-NP I-NP B-NP O I-NP", "NP0-2 NP2-3 NP4-5"),  # IOB1: a B only where one span follows another of its kind
        ("B-NP E-NP S-NP S-NP O B-VP I-VP E-VP", "NP0-2 NP2-3 NP3-4 VP5-8"),  # BIOES
        ("B-NP I-VP I-VP O", "NP0-1 VP1-3"),  # broken: a kind changes inside a span
        ("E-NP E-NP I-NP S-NP I-NP", "NP0-1 NP1-2 NP2-3 NP3-4 NP4-5"),
        ("O O", ""),
        ("B-A-B I-A-B", "A-B0-2"),  # a kind may have hyphens
    ],
)
def test_spans_by_hand(tags, found):
    assert " ".join(f"{s.kind}{s.start}-{s.end}" for s in spans(tags.split())) == found


tag = st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from("BIES"), st.sampled_from(["X", "Y"])))


def by_pattern(tags: list[str]) -> set[Span]:
    """The same rules as one pattern a kind, over a text with a letter a tag."""
    found = set()
    for kind in "XY":
        letters = "".join("O" if t == "O" or t[2:] != kind else t[0] for t in tags)
        found |= {Span(kind, m.start(), m.end()) for m in re.finditer(r"S|BI*E?|I+E?|E", letters)}
    return found


@given(st.lists(tag, max_size=12))
def test_spans_of_any_tags(tags):
    assert set(spans(tags)) == by_pattern(tags)


@given(st.lists(tag, max_size=12))
def test_the_same_spans_in_another_scheme(tags):
    rewritten = without_ends(tags)
    assert spans(rewritten) == spans(tags) and set("".join(t[0] for t in rewritten)) <= set("BIO")
    assert in_iob2(rewritten)
    assert in_iob2(tags) == all(t == "O" or t[0] == "B" or (t[0] == "I" and before[0] in "BI" and before[1:] == t[1:]) for before, t in zip(["O", *tags], tags, strict=False))
    ended = with_ends(rewritten)
    letters = ["O"] * len(tags)
    for _, start, end in spans(tags):
        letters[start:end] = "S" if end - start == 1 else f"B{'I' * (end - start - 2)}E"
    assert [t[0] for t in ended] == letters and [t[1:] for t in ended] == [t[1:] for t in rewritten]
    assert without_ends(ended) == rewritten


def test_scores():
    right = [["B-NP", "I-NP", "O", "B-VP"], ["B-NP", "O"]]
    said = [["B-NP", "I-NP", "O", "B-NP"], ["O", "B-NP"]]  # NP of the first sentence is right; two are wrong
    found = span_scores(right, said)
    assert (found["spans"], found["spans_said"], found["spans_right"]) == (3, 3, 1) and found["f1"] == pytest.approx(1 / 3)
    assert found["kinds"]["NP"]["precision"] == pytest.approx(1 / 3) and found["kinds"]["NP"]["recall"] == 0.5
    assert found["kinds"]["VP"] == {"spans": 1, "spans_said": 0, "spans_right": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    # A span of another sentence, or with another end, is not the same.
    assert span_scores([["B-NP"], ["O"]], [["O"], ["B-NP"]])["f1"] == span_scores([["B-NP", "I-NP"]], [["B-NP", "O"]])["f1"] == 0


def test_what_marks_spans():
    assert marks_spans(["O", "B-NP"]) and not marks_spans(["O"]) and not marks_spans(["NN", "B-NP"]) and not marks_spans(["B-"])
