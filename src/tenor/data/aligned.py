"""A text and its counterpart: two columns of a file to pairs, and pairs to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tenor.data import columns as col
from tenor.data.batches import pack
from tenor.data.parts import is_test, part_of
from tenor.data.pieces import BREAK
from tenor.data.sources import table_of
from tenor.data.splits import validation_rows
from tenor.data.tables import Report
from tenor.data.text import PAD, Ragged, clean
from tenor.errors import TenorError, plural


class Pair(NamedTuple):
    """Cleaned texts. `part` is the pair's place in the source's own split ("train", "val", "test2016", ...), if any."""

    source: str
    target: str
    part: str | None


@dataclass
class Pairs:
    """The pairs of a file, and sentences on what was noticed while reading it."""

    name: str
    pairs: list[Pair]
    notes: list[str] = field(default_factory=list)


def read_pairs(path: Path, source: str | None, target: str | None, skip_bad: bool = False) -> Pairs:
    """Read two columns of a table. Pairs of which a side is empty are left out, and it is said how many.

    Raises:
        TenorError: a column is not named or not there, no pair at all, or whatever is wrong with the file.
    """
    table = table_of(path, skip_bad, tuple(c for c in (source, target) if c))
    has = f"{table.name} has: {', '.join(table.columns)}."
    if source is None or target is None:
        raise TenorError(f"Pairs are two columns, and which they are must be said: --text FROM --label INTO. {has}")
    if source == target:
        raise TenorError(f"Text and its counterpart must be two columns; both are {source!r}. {has} Name them with --text and --label.")
    col.find_column(table.columns, source, (), "text", "--text", table.name)
    col.find_column(table.columns, target, (), "counterpart", "--label", table.name)
    split = col.find_column(table.columns, None, col.SPLIT_NAMES, "split", "", table.name)
    report, found, empty = Report(), Pairs(str(path), []), 0
    for record in table.records([c for c in (source, target, split) if c], report):
        texts = [clean("" if (value := record.values.get(c)) is None else str(value)) for c in (source, target)]
        part = str(record.values.get(split) or "").strip().casefold() if split else ""
        if all(texts):
            found.pairs.append(Pair(texts[0], texts[1], part or None))
        empty += not all(texts)
    if not found.pairs:
        raise TenorError(f"No pair in {table.name}: {plural(empty, 'row')}, and none with text in both {source!r} and {target!r}. Choose the columns with --text and --label.")
    found.notes += [f"{plural(empty, 'pair')} with an empty side left out."] if empty else []
    found.notes += report.sentences()
    return found


def check_aligned(sources: Sequence[str], targets: Sequence[str]) -> None:
    """Raises TenorError if they are not as many."""
    if len(sources) != len(targets):
        raise TenorError(f"Each text needs its counterpart; got {plural(len(sources), 'text')} and {plural(len(targets), 'counterpart')}.")


class Facing(NamedTuple):
    """A batch. source: packed ids, longest first. target: [T + 1, B] ids of the same rows, a BREAK before and after each, PAD beyond."""

    source: PackedSequence
    target: Tensor


def facing(sources: Ragged, targets: Ragged, rows: np.ndarray) -> Facing:
    batch = pack(sources, rows)
    lengths = targets.lengths[batch.rows]
    target = np.full((int(lengths.max()) + 2, len(rows)), PAD, np.int64)
    target[0] = BREAK
    for place, row in enumerate(batch.rows):
        target[1 : lengths[place] + 1, place] = targets[row]
        target[lengths[place] + 1, place] = BREAK
    return Facing(batch.tokens, torch.from_numpy(target))


def validation_of_pairs(pairs: Sequence[Pair], wish: float | None, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and pairs to choose the epoch by: drawn at random, `wish` as in SplitConfig.validation. Raises TenorError as validation_rows."""
    aside = validation_rows(len(pairs), wish)
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [pairs[i] for i in np.sort(order[aside:])], [pairs[i] for i in np.sort(order[:aside])]


def divided(pairs: Sequence[Pair], wish: float | None, seed: int) -> tuple[list[Pair], list[Pair], list[str]]:
    """Pairs to learn from, pairs to choose the epoch by, and sentences on both.

    Pairs of test parts are left out. Those of the part validation (val, valid, dev) choose the epoch, unless so many are wished for. What is learnt from shares no source text
    with the others.
    """
    test = [p for p in pairs if is_test(p.part)]
    own = [p for p in pairs if part_of(p.part) == "validation"] if wish is None else []
    rest = [p for p in pairs if not is_test(p.part) and (wish is not None or part_of(p.part) != "validation")]
    train, aside = (rest, own) if own else validation_of_pairs(rest, wish, seed)
    unseen = {p.source.casefold() for p in (*test, *aside)}
    kept = [p for p in train if p.source.casefold() not in unseen]
    parts = ", ".join(dict.fromkeys(p.part for p in test if p.part))
    left = [f"{plural(len(test), 'pair')} of {parts} are left out, so that they stay unseen."] if test else []
    left += [f"{plural(len(train) - len(kept), 'pair')} to learn from left out: their text is among the others too."] if len(kept) < len(train) else []
    where = "the data's own" if own else "drawn at random"
    choose = f", {plural(len(aside), 'pair')} to choose the epoch by ({where})" if aside else "; none is kept aside, so the last epoch is kept"
    return kept, aside, [*left, f"{plural(len(kept), 'pair')} to learn from{choose}."]
