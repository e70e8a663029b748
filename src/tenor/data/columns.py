"""Which column is the text, which the label, which the split; and what the label's values mean."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tenor.errors import TenorError, nearest

LONGEST_SHOWN = 40  # characters of a label in a message

TEXT_NAMES = ("text", "review", "reviews", "review_text", "reviewtext", "review_body", "reviewbody", "comment", "comments", "content", "body",
              "sentence", "tweet", "message", "document", "description", "feedback", "texts", "words", "tokens")  # fmt: skip
LABEL_NAMES = ("label", "labels", "sentiment", "class", "category", "target", "polarity", "rating", "stars", "score", "y")
SPLIT_NAMES = ("split", "set", "partition", "subset")

_POSITIVE = {"positive", "pos", "1", "+1", "+", "true", "good", "p"}
_NEGATIVE = {"negative", "neg", "0", "-1", "-", "false", "bad", "n"}
_NO_LABEL = {"", "unsup", "none", "null", "nan", "na", "n/a", "?", "unlabeled", "unlabelled"}
_STARS = re.compile(r"^(\d+)(?:\.0+)?\s*(?:stars?|★|⭐|/\s*(?:5|10))?$|^([★⭐]+)[☆]*$")
_OF = re.compile(r"/\s*(5|10)$")
_NUMBER = re.compile(r"^[+-]?\d+\.0+$")


def looks_like_header(cells: Sequence[str]) -> bool:
    """False if the first line of a file is data: a label's value, a long text or an empty cell among its cells."""
    folded = [c.strip().casefold() for c in cells]
    if any(c in (*TEXT_NAMES, *LABEL_NAMES) for c in folded):
        return True
    return not any(c in _POSITIVE | _NEGATIVE | {""} or _STARS.match(c) or len(c) > 60 or c.count(" ") > 4 for c in folded)


def find_column(columns: Sequence[str], given: str | None, usual: Sequence[str], what: str, option: str, source: str) -> str | None:
    """The column the user named (or the nearest name in an error), else the first usual one, else None."""
    if given is not None:
        if given in columns:
            return given
        raise TenorError(f"No column {given!r} for the {what} in {source}{nearest(given, columns)} It has: {', '.join(columns)}. Choose one with {option}.")
    by_folded = {c.strip().casefold(): c for c in reversed(columns)}
    return next((by_folded[u] for u in usual if u in by_folded), None)


def guess_columns(sample: Sequence[dict[str, Any]]) -> tuple[str | None, str | None]:
    """For a table without a header: the text is the longest column on average, the label the one with few values."""
    if not sample:
        return None, None
    columns = list(sample[0])
    text = max(columns, key=lambda c: sum(len(str(row[c])) for row in sample))
    others = [c for c in columns if c != text]
    values = {c: len({str(row[c]) for row in sample}) for c in others}
    label = min(others, key=lambda c: values[c], default=None)
    return text, label


def label_of(value: Any) -> str | None:
    """A label as written by the user, trimmed; 1.0 is 1; empty, none, unsup and the like are no label."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip()
    if _NUMBER.match(text):
        text = text.split(".")[0]
    return None if text.casefold() in _NO_LABEL else text


def sentiment_of(label: object) -> int | None:
    """1 for a word that means positive, 0 for negative, else None."""
    folded = str(label).casefold()
    return 1 if folded in _POSITIVE else 0 if folded in _NEGATIVE else None


def order_labels(labels: Iterable[str]) -> list[str]:
    """The distinct labels in the model's order: negative before positive, numbers by size, else by name."""
    distinct = set(labels)
    if len(distinct) == 2 and {sentiment_of(x) for x in distinct} == {0, 1}:
        return sorted(distinct, key=lambda x: sentiment_of(x) or 0)
    sizes = {x: _size(x) for x in distinct}
    if None not in sizes.values():
        return sorted(distinct, key=lambda x: (sizes[x], x))
    return sorted(distinct)


def _size(label: str) -> float | None:
    stars = _stars(label)
    try:
        return float(label) if stars is None else stars
    except ValueError:
        return None


def same_spelling(labels: Sequence[str]) -> list[str]:
    """Labels that differ only in case become one, in its most frequent spelling."""
    best: dict[str, str] = {}
    for spelling, _ in Counter(labels).most_common():
        best.setdefault(spelling.casefold(), spelling)
    return [best[x.casefold()] for x in labels]


def match_labels(labels: Sequence[str], known: Sequence[object], source: str, owner: str = "The model knows", rated: bool = False) -> list[int]:
    """Index of each label among those of `owner`; pos, positive and 1 (neg, negative and 0) count as the same. rated: --stars could read the labels as ratings.

    Raises:
        TenorError: a label that is not among them.
    """
    index = _places(known)
    unknown = {x for x in labels if x not in index and x.casefold() not in index}
    if unknown:
        first, *rest = sorted(unknown)
        listed = ", ".join(repr(x if len(x) <= LONGEST_SHOWN else x[:LONGEST_SHOWN] + " ...") for x in (first, *rest[:4])) + (f" and {len(rest) - 4} more" if len(rest) > 4 else "")
        ratings = rated and all(_stars(x) is not None for x in unknown) and {sentiment_of(k) for k in known} == {0, 1}
        way = "--stars 5 or --stars 10 makes negative and positive of ratings; else choose" if ratings else "Choose"
        raise TenorError(
            f"{owner} the labels {', '.join(map(str, known))}; {source} has {listed}"
            f"{nearest(first, map(str, known))} {way} the right column with --label, or rename the labels to those."
        )
    return [index[x] if x in index else index[x.casefold()] for x in labels]


def same_labels(labels: Sequence[object], known: Sequence[object]) -> list[int] | None:
    """Index of each label among a model's, if they are as many and mean the same; else None."""
    index = _places(known)
    found = [index.get(str(x), index.get(str(x).casefold(), -1)) for x in labels]
    return found if sorted(found) == list(range(len(known))) else None


def _places(known: Sequence[object]) -> dict[str, int]:
    """Index by each spelling of a label."""
    index = {str(k).casefold(): i for i, k in enumerate(known)} | {str(k): i for i, k in enumerate(known)}
    if len(known) == 2 and {sentiment_of(k) for k in known} == {0, 1}:
        meaning = {sentiment_of(k): i for i, k in enumerate(known)}
        for word in _POSITIVE | _NEGATIVE:
            index.setdefault(word, meaning[sentiment_of(word)])
    return index


def stars_to_sentiment(labels: Sequence[str], scale: int, source: str) -> list[str | None]:
    """Ratings to negative and positive; the middle is no label (as IMDb's own: up to 4 of 10 negative, from 7 positive).

    Args:
        scale: 5 (up to 2 negative, from 4 positive) or 10. Said by the user: a file need not use all of its scale.
        source: the file's name, for the error.

    Raises:
        TenorError: a label that is no rating on this scale.
    """
    low, high = {5: (2, 4), 10: (4, 7)}[scale]
    meaning: dict[str, str | None] = {}
    for label in set(labels):
        n, of = _stars(label), _OF.search(label)
        if n is None or n > scale or (of and int(of[1]) != scale):
            raise TenorError(f"--stars {scale} needs ratings from 0 to {scale}; {source} has {label!r}. Choose the right column with --label, or the other scale.")
        meaning[label] = None if low < n < high else "positive" if n >= high else "negative"
    return [meaning[x] for x in labels]


def scale_in_doubt(labels: Sequence[str], scale: int) -> list[str]:
    """A sentence where ratings of 10 all are of 5 at most: a file need not use all of its scale, but then it is likely the other."""
    if scale == 5 or not labels or max(_stars(x) or 0 for x in labels) > 5:
        return []
    return ["No rating is above 5. If 5 is the best one, use --stars 5: with --stars 10, ratings of 4 and less are negative, and 5 and 6 are left out."]


def _stars(label: str) -> int | None:
    found = _STARS.match(label.strip())
    return None if not found else int(found[1]) if found[1] else len(found[2])
