"""What the model in the box learns from besides reviews: reviews that were edited to the other side, and pairs of short opinions.

A training that has read a review only as it is remembers its rare words; one that has read an edit too, in which most of the words stay and the
verdict turns, must look at what stands around them (Kaushik et al. 2020, arXiv 1909.12434). The texts are in benchmarks/lessons, written for the project.

    TENOR_DATA=... python benchmarks/lessons.py OUT.parquet    the rows that the box is trained on
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from minimal_pairs import OTHER, by_hash, edited, json_lines, phrases
from reviews import ARTICLE_SPLIT
from tenor.jobs.prepare import Data, Order, prepare
from tenor.training.presets import preset

LESSONS = Path(__file__).parent / "lessons"
NAMES = {"neg": "negative", "pos": "positive"}
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+")
SHORTEST = 15  # characters of a sentence that is a lesson by itself


class Lesson(NamedTuple):
    text: str
    label: str  # positive or negative


def lessons(reviews: Iterable[str], folder: Path = LESSONS) -> list[Lesson]:
    """Each edited review, which its original stands beside among the rows; of each the sentences that an edit changes, as they were and edited; both sides of each pair of short opinions.

    Args:
        reviews: cleaned texts, those of the edited reviews among them.
        folder: has review_edits.jsonl (text_sha256 of the cleaned text, label, edits) and short_pairs.jsonl (positive, negative, about).

    Raises:
        TenorError: a review is missing, or an edit does not fit its text.
    """
    rows = json_lines(folder / "review_edits.jsonl")
    texts, found = by_hash(rows, reviews), []
    for row in rows:
        text, label = texts[row["text_sha256"]], row["label"]
        edits = phrases(text, row["edits"])
        found.append(Lesson(edited(text, edits), OTHER[label]))
        for before, after in turned_sentences(text, edits):
            found += [Lesson(before, label), Lesson(after, OTHER[label])]
    for row in json_lines(folder / "short_pairs.jsonl"):
        found += [Lesson(row[side], side) for side in OTHER]
    return found


def counts(folder: Path = LESSONS) -> dict[str, int]:
    """How many there are: edited_reviews, short_pairs."""
    return {"edited_reviews": len(json_lines(folder / "review_edits.jsonl")), "short_pairs": len(json_lines(folder / "short_pairs.jsonl"))}


def turned_sentences(text: str, edits: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each sentence that an edit changes, as it was and edited; sentences that one edit spans are one."""
    places = [(start := text.index(old), start + len(old)) for old, _ in edits]
    ends = [m for m in SENTENCE_END.finditer(text) if not any(a < m.end() and m.start() < b for a, b in places)]
    bounds = zip([0, *(m.end() for m in ends)], [*(m.start() for m in ends), len(text)], strict=True)
    found = []
    for start, end in bounds:
        inside = [edit for edit, (a, b) in zip(edits, places, strict=True) if start <= a and b <= end]
        if inside and end - start >= SHORTEST:
            found.append((text[start:end], edited(text[start:end], inside)))
    return found


def rows_of(data: Data) -> pa.Table:
    """text, label (empty: none) and split of each row: the training rows and the lessons, in an order drawn by a fixed seed; validation rows, texts without a label, test rows."""

    def labelled(which: Iterable[int]) -> list[Lesson]:
        return [Lesson(data.rows[i].text, NAMES[data.rows[i].label]) for i in which]

    train, validation, test = (labelled(part) for part in (data.split.train, data.split.validation, data.split.test))
    learnt = [*train, *lessons(lesson.text for lesson in train)]
    random.Random(0).shuffle(learnt)
    apart = {lesson.text.casefold() for lesson in validation}
    others = [Lesson(text, "") for text in data.others if text.casefold() not in apart]
    rows = [(*lesson, part) for part, some in (("train", [*learnt, *others]), ("validation", validation), ("test", test)) for lesson in some]
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(("text", "label", "split"))})


def write(path: Path) -> None:
    """The article split's rows with the lessons among those that train."""
    data = prepare(Order("imdb", path, lambda _rows, _start=None: preset("best", how="range", train_rows=ARTICLE_SPLIT[3], test_rows=ARTICLE_SPLIT[-1])))
    pq.write_table(rows_of(data), path)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
