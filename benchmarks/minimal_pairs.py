"""Pairs of a film review and an edit that turns its meaning: those written for the project, and those of real reviews, in two styles.

Real reviews belong to those who wrote them. benchmarks/cases has their hashes and what is replaced; the texts come from imdb.parquet in $TENOR_DATA.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tenor.data.datasets import DATA_SETS, find
from tenor.data.text import clean
from tenor.errors import TenorError

CASES = Path(__file__).parent / "cases"
REVIEW_PAIRS = CASES / "review_pairs.jsonl"
REVISIONS = CASES / "review_revisions.jsonl"
OTHER = {"positive": "negative", "negative": "positive"}
HASH_DIGITS = 16


class Pair(NamedTuple):
    kind: str
    original: str
    original_label: str
    edited: str
    edited_label: str


def written() -> list[Pair]:
    """The pairs whose texts were written for the project, the originals too."""
    return [Pair(**row) for row in json_lines(CASES / "minimal_pairs.jsonl")]


def of_reviews(reviews: Path | None = None, pairs: Path = REVIEW_PAIRS) -> list[Pair]:
    """The pairs of real reviews, raw as in the data (with `<br />`).

    Args:
        reviews: the Parquet file that has the texts; None: imdb.parquet of $TENOR_DATA or the cache.
        pairs: the file of hashes and edits.

    Raises:
        TenorError: there is no such file, it lacks a text, or an edit does not fit its text.
    """
    rows = json_lines(pairs)
    texts = by_hash(rows, raw_texts(reviews))
    return [Pair(row["kind"], text := texts[row["text_sha256"]], row["label"], edited(text, row["edits"]), OTHER[row["label"]]) for row in rows]


def revisions(reviews: Path | None = None, pairs: Path = REVISIONS) -> list[Pair]:
    """The pairs of real reviews that were written anew for the most part, cleaned. As of_reviews."""
    rows = json_lines(pairs)
    texts = by_hash(rows, map(clean, raw_texts(reviews)))
    return [Pair("revision", text := texts[row["text_sha256"]], row["label"], edited(text, phrases(text, row["edits"])), OTHER[row["label"]]) for row in rows]


def raw_texts(reviews: Path | None = None) -> list[str]:
    """All texts of the Parquet file of reviews, as of_reviews takes it."""
    place = reviews or find(DATA_SETS["imdb"])
    if place is None or place.suffix != ".parquet":
        raise TenorError(f"The pairs of real reviews need imdb.parquet, and {place or 'no film reviews'} was found. Name the folder that has it in TENOR_DATA.")
    found: list[str] = pq.read_table(place, columns=["text"])["text"].to_pylist()
    return found


def by_hash(rows: Sequence[dict[str, Any]], texts: Iterable[str]) -> dict[str, str]:
    """The texts that rows name by their hashes. Raises TenorError: one is missing."""
    wanted = {row["text_sha256"] for row in rows}
    found = {key: text for text in texts if (key := hash_of(text)) in wanted}
    if missing := wanted - found.keys():
        raise TenorError(f"Each edit needs its review; {len(missing)} of {len(wanted)} are not among the texts, {min(missing)} is one. Take the reviews that the edits were made from.")
    return found


def phrases(text: str, edits: Sequence[tuple[int, int, str]]) -> list[tuple[str, str]]:
    """(start, end, new words) each -> the old words and the new ones, as `edited` takes them. So a file of edits has no words of the reviews."""
    return [(text[start:end], new) for start, end, new in edits]


def json_lines(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def edited(text: str, edits: list[tuple[str, str]]) -> str:
    """The text with the old words of each edit replaced by the new ones. All are looked for in the text as it came.

    Raises:
        TenorError: old words do not occur exactly once, or overlap with those of another edit.
    """
    for old, _ in edits:
        if (times := text.count(old)) != 1:
            raise TenorError(f"The words that an edit replaces must occur once in the text; {old!r} occurs {times} times in {hash_of(text)}. Give more of the words around them.")
    placed = sorted((text.index(old), old, new) for old, new in edits)
    for (start, old, _), (following, other, _) in pairwise(placed):
        if start + len(old) > following:
            raise TenorError(f"Edits must not overlap; {old!r} and {other!r} do in {hash_of(text)}. Make them one.")
    for start, old, new in reversed(placed):
        text = text[:start] + new + text[start + len(old) :]
    return text
