"""What is wrong with the data, in plain words, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tenor.data.sources import Row
from tenor.errors import TenorError


@dataclass(frozen=True)
class Findings:
    """Numbers of rows, and the indexes of training rows that also stand in the test rows."""

    train: int
    validation: int
    test: int
    unlabelled: int
    empty: int
    duplicates: int  # rows whose text stands earlier in the same part
    contradictory: int  # texts that occur with different labels
    overlap: list[int]  # training (or validation) rows whose text is also a test text
    balance: dict[str, float]  # share of each label in the training rows

    def sentences(self, dropped: bool) -> list[str]:
        """One sentence a finding; the first is always the balance."""
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.balance.items())
        out = [f"Labels in the training rows: {shares}."]
        if max(self.balance.values()) > 0.8:
            out.append("One label holds more than 80 % of them: read F1 and AUC, not the accuracy alone.")
        if self.unlabelled:
            out.append(f"{self.unlabelled:,} rows have no label and are kept apart.")
        if self.empty:
            out.append(f"{self.empty:,} texts are empty; they are kept, and answered with what holds for a text of no words.")
        if self.duplicates:
            out.append(f"{self.duplicates:,} rows repeat a text of the same part (training, validation or test).")
        if self.contradictory:
            out.append(f"{self.contradictory:,} texts occur with different labels: nobody can get all of these right.")
        if self.overlap:
            done = "they were dropped from training" if dropped else "they were kept, as you asked: the test result is too good"
            out.append(f"{len(self.overlap):,} training rows have the text of a test row; {done}.")
        return out

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"overlap": len(self.overlap)}


def check_labels(labels: Sequence[str], source: str) -> None:
    """Raises TenorError for no label, one label only, a label seen once, or as good as every row its own label."""
    counts = Counter(labels)
    if not counts:
        raise TenorError(f"No row of {source} has a label; training needs at least two different ones. Choose the column with --label.")
    if len(counts) == 1:
        raise TenorError(f"Training needs at least two different labels; every row of {source} has {next(iter(counts))!r}. Choose the column with --label.")
    if len(counts) > 100 and len(counts) > sum(counts.values()) / 5:
        raise TenorError(f"{len(counts):,} different labels in {sum(counts.values()):,} rows of {source}: that is no class. Choose the column with --label.")
    once = sorted(x for x, n in counts.items() if n == 1)
    if once:
        raise TenorError(f"A label needs at least two rows, one to learn and one to check; seen once in {source}: {', '.join(once[:5])}. Add rows, or mend or drop that one.")


def check_rows(
    rows: Sequence[Row], train: np.ndarray, validation: np.ndarray, test: np.ndarray, test_rows: Sequence[Row], names: Sequence[str], unlabelled: int
) -> Findings:
    """Compare texts without regard to case.

    Args:
        rows: labelled rows; train, validation (and test, unless from a second file) index them.
        test: indexes into `test_rows`.
        names: the labels in the model's order.
    """
    keys = [r.text.casefold() for r in rows]
    test_keys = keys if test_rows is rows else [r.text.casefold() for r in test_rows]
    labels: dict[str, set[str]] = {}
    for part, source, texts in ((train, rows, keys), (validation, rows, keys), (test, test_rows, test_keys)):
        for i in part:
            labels.setdefault(texts[i], set()).add(source[i].label)
    parts = [[keys[i] for i in train], [keys[i] for i in validation], [test_keys[i] for i in test]]
    in_test = {k for k in parts[2] if k}
    learn = [*train.tolist(), *validation.tolist()]
    counts = Counter(rows[i].label for i in train)
    return Findings(
        train=len(train),
        validation=len(validation),
        test=len(test),
        unlabelled=unlabelled,
        empty=sum(not k for part in parts for k in part),
        duplicates=sum(len(part) - len(set(part)) for part in parts),
        contradictory=sum(len(found) > 1 for key, found in labels.items() if key),
        overlap=[i for i in learn if keys[i] in in_test],
        balance={name: counts[name] / max(1, len(train)) for name in names},
    )
