"""Tags that mark spans of words (B-NP I-NP O ...): which spans they mark, how many were found, and two ways to write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Span(NamedTuple):
    """Words start to end - 1 of a sentence."""

    kind: str
    start: int
    end: int


def marks_spans(tags: Iterable[str]) -> bool:
    """Whether tags are of IOB1, IOB2 or BIOES: O, or a letter of B, I, E, S, a hyphen and a kind; and some are no O."""
    kinds = set(tags)
    return bool(kinds - {"O"}) and all(t == "O" or (t[:2] in ("B-", "I-", "E-", "S-") and len(t) > 2) for t in kinds)


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence, by the rules of conlleval (Tjong Kim Sang and Buchholz 2000), which are also seqeval's where it is not told otherwise.

    A word belongs to the span of the word before it if it is an I or E of the same kind and that one was a B or I. Every other word but an O
    begins a span: so IOB1, IOB2 and BIOES are all read as they are meant, and tags that break their scheme still mark spans.
    """
    found: list[Span] = []
    before = "O"
    for place, tag in enumerate(tags):
        if tag[0] in "IE" and before[0] in "BI" and tag[1:] == before[1:]:
            found[-1] = found[-1]._replace(end=place + 1)
        elif tag != "O":
            found.append(Span(tag[2:], place, place + 1))
        before = tag
    return found


def with_ends(tags: Sequence[str]) -> list[str]:
    """IOB2 to BIOES: the last word of a span is an E, the one word of a span an S."""
    last = [after != f"I{t[1:]}" for t, after in zip(tags, [*tags[1:], "O"], strict=False)]
    return [t if t == "O" or not ends else ("S" if t[0] == "B" else "E") + t[1:] for t, ends in zip(tags, last, strict=True)]


def without_ends(tags: Sequence[str]) -> list[str]:
    """The spans that tags of BIOES mark, as `spans` reads them, in IOB2."""
    out = ["O"] * len(tags)
    for kind, start, end in spans(tags):
        out[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return out


def in_iob2(tags: Sequence[str]) -> bool:
    """Whether a sentence's tags are of IOB2: every span begins with a B, and goes on with an I."""
    return without_ends(tags) == list(tags)


def span_scores(right: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> dict[str, Any]:
    """How many spans were found, whole and of the right kind.

    Returns:
        spans (in the right tags), spans_said, spans_right; precision, recall and f1 over all; kinds: the same of each kind.
    """
    sets = [({(i, *s) for i, tags in enumerate(rows) for s in spans(tags)}) for rows in (right, said)]
    counts = [Counter(s[1] for s in found) for found in (*sets, sets[0] & sets[1])]
    kinds = {kind: _scores(*(c[kind] for c in counts)) for kind in sorted(counts[0] | counts[1])}
    return _scores(*(sum(c.values()) for c in counts)) | {"kinds": kinds}


def _scores(there: int, said: int, both: int) -> dict[str, Any]:
    """Without spans there, or without any said, precision and recall are 0, as seqeval has it."""
    return {
        "spans": there,
        "spans_said": said,
        "spans_right": both,
        "precision": both / said if said else 0.0,
        "recall": both / there if there else 0.0,
        "f1": 2 * both / (there + said) if there + said else 0.0,
    }
