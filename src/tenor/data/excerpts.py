"""Some sentences of each text, drawn at random: what a network that has only read long texts needs to answer short ones."""

from __future__ import annotations

import numpy as np

from tenor.data.text import Ragged

# An excerpt begins with a sentence, and ends with the first sentence that makes it as long as was drawn, or at the most.
SHORTEST, LONGEST, MOST = 6, 50, 90  # tokens
ENDS = ".!?"  # of sentences


def excerpts(ids: Ragged, ends: np.ndarray, rng: np.random.Generator) -> Ragged:
    """One excerpt of each row.

    Args:
        ids: texts as token ids.
        ends: ids of the tokens that end a sentence.
        rng: draws where they begin and how long they are.
    """
    rows, tokens = len(ids), len(ids.values)
    after = np.flatnonzero(np.isin(ids.values, ends)) + 1  # places after the end of a sentence
    row_ends = ids.offsets[1:]
    starts = np.union1d(ids.offsets[:-1], after)
    row_of = np.searchsorted(row_ends, starts, side="right")  # a start at the end of a row belongs to the next
    starts, row_of = starts[row_of < rows], row_of[row_of < rows]
    first, last = (np.searchsorted(row_of, np.arange(rows), side=side) for side in ("left", "right"))
    some = last > first  # an empty row has no start
    chosen = np.minimum(first + (rng.random(rows) * (last - first)).astype(np.int64), np.maximum(last - 1, 0))
    begin = np.where(some, starts[chosen] if len(starts) else 0, ids.offsets[:-1])
    wanted = begin + rng.integers(SHORTEST, LONGEST, rows)
    following = np.append(after, tokens)
    end = following[np.minimum(np.searchsorted(following, wanted), len(following) - 1)]
    return ids.take(begin, np.minimum(np.minimum(end, begin + MOST), row_ends) - begin)
