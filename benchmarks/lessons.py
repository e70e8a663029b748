"""What the model in the box learns from besides reviews: reviews that were edited to the other side, and pairs of short opinions.

A training that has read a review only as it is remembers its rare words; one that has read an edit too, in which most of the words stay and the
verdict turns, must look at what stands around them (Kaushik et al. 2020, arXiv 1909.12434). The texts are in benchmarks/lessons, written for the project.

    TENOR_DATA=... python benchmarks/lessons.py OUT.parquet    then: tenor train imdb --extra OUT.parquet
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from minimal_pairs import OTHER, by_hash, edited, json_lines, phrases
from reviews import ARTICLE_SPLIT
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows

LESSONS = Path(__file__).parent / "lessons"
EDITS = {"review_edits.jsonl": True, "whole_edits.jsonl": False}  # and whether an edited sentence alone mostly shows the verdict, so that it is a lesson too
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+")
SHORTEST = 8  # words of a sentence that is a lesson by itself, before and after


class Lesson(NamedTuple):
    text: str
    label: str  # positive or negative


def lessons(reviews: Iterable[str], folder: Path = LESSONS) -> list[Lesson]:
    """Each edited review, which its original stands beside among the rows; of those that were edited sentence by sentence the sentences too, as they were and edited; both sides of each pair of short opinions.

    Args:
        reviews: cleaned texts, those of the edited reviews among them.
        folder: has the files of EDITS (text_sha256 of the cleaned text, label, edits) and short_pairs.jsonl (positive, negative, about).

    Raises:
        TenorError: a review is missing, or an edit does not fit its text.
    """
    files = {name: json_lines(folder / name) for name in EDITS}
    texts, found = by_hash([row for rows in files.values() for row in rows], reviews), []
    for name, row in ((name, row) for name, rows in files.items() for row in rows):
        text, label = texts[row["text_sha256"]], row["label"]
        edits = phrases(text, row["edits"])
        found.append(Lesson(edited(text, edits), OTHER[label]))
        for before, after in turned_sentences(text, edits) if EDITS[name] else ():
            if min(len(before.split()), len(after.split())) >= SHORTEST:
                found += [Lesson(before, label), Lesson(after, OTHER[label])]
    for row in json_lines(folder / "short_pairs.jsonl"):
        found += [Lesson(row[side], side) for side in OTHER]
    return found


def counts(folder: Path = LESSONS) -> dict[str, int]:
    """How many there are: edited_reviews, short_pairs."""
    return {"edited_reviews": sum(len(json_lines(folder / name)) for name in EDITS), "short_pairs": len(json_lines(folder / "short_pairs.jsonl"))}


def turned_sentences(text: str, edits: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each sentence that an edit changes, as it was and edited; sentences that one edit spans are one."""
    places = [(start := text.index(old), start + len(old)) for old, _ in edits]
    ends = [m for m in SENTENCE_END.finditer(text) if not any(a < m.end() and m.start() < b for a, b in places)]
    bounds = zip([0, *(m.end() for m in ends)], [*(m.start() for m in ends), len(text)], strict=True)
    found = []
    for start, end in bounds:
        inside = [edit for edit, (a, b) in zip(edits, places, strict=True) if start <= a and b <= end]
        if inside:
            found.append((text[start:end], edited(text[start:end], inside)))
    return found


def write(path: Path) -> list[Lesson]:
    """All lessons, as a table of text and label too, for `tenor train imdb --extra`."""
    reviews = read_rows(resolve("imdb")).rows[: ARTICLE_SPLIT[3]]
    found = lessons(r.text for r in reviews)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: [lesson[place] for lesson in found] for place, name in enumerate(Lesson._fields)}), path)
    return found


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(f"{len(write(Path(sys.argv[1]))):,} lessons")


if __name__ == "__main__":
    main()
