"""Training, validation and test rows: by ranges, at random with balance, the data's own, or a second file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import train_test_split

from tenor.config import SplitConfig
from tenor.errors import TenorError, plural


@dataclass(frozen=True)
class Split:
    """Row indexes. `test` counts from 0 in the second file where there is one."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    name: str  # for people: how it was split


def split_rows(labels: Sequence[int], parts: Sequence[str | None], config: SplitConfig, seed: int, second_file: int | None = None) -> Split:
    """Divide labelled rows.

    Args:
        labels: class index of each row.
        parts: the source's own split of each row ("train", "validation", "test" or None).
        config: how, and how many.
        seed: for the random draws (validation rows are drawn at random with balance, but for those that the data's own split has, where no number is wished).
        second_file: number of rows of the `--test` file; all rows here are then for training, and validation rows are drawn from them.

    Raises:
        TenorError: more rows asked for than there are, no own split, or a part without rows or with one label only.
    """
    y = np.asarray(labels)
    everything, own = np.arange(len(y)), np.empty(0, np.int64)  # own: the data's own validation rows
    if second_file is not None:
        _numbers(len(y), replace(config, test_rows=0))
        train, test, name = everything[: config.train_rows], np.arange(second_file), "second file"
    elif config.how == "official":
        (train, own, test), name = _official(parts), "official"
    else:
        train_rows, test_rows = _numbers(len(y), config)
        name = f"{config.how}, {train_rows:,} and {test_rows:,} rows"
        if config.how == "range":
            train, test = everything[:train_rows], everything[train_rows : train_rows + test_rows]
        else:
            train, test = _draw(y, everything, test_rows, seed)
            train = _draw(y, train, len(train) - train_rows, seed)[0] if train_rows < len(train) else train
    if config.how != "range" or second_file is not None:
        _check_given(config, len(train), len(test), second_file)
    if len(train) == 0:
        raise TenorError(f"No rows are left to train on (split: {name}). Give more rows or a smaller --test-rows.")
    train, validation = (train, own) if len(own) and config.validation is None else validation_split(y, train, config.validation, seed)
    missing = sorted(set(y.tolist()) - set(y[train].tolist()))
    if len(set(y[train].tolist())) < 2 or missing:
        raise TenorError(
            f"Every label needs rows to train on; split by {name}, {plural(len(missing), 'label')} would be without. "
            "Is the file sorted by label? Use --split random, or --split official where the data has its own."
        )
    if config.how == "range" and second_file is None:
        _check_order(y, test, name)
    return Split(train, validation, test, name)


def _check_order(y: np.ndarray, test: np.ndarray, name: str) -> None:
    """Refuse a range of test rows with one label only, unless chance could do it."""
    found = set(y[test].tolist())
    if len(found) == 1 and np.mean(y == found.pop()) ** len(test) < 1e-3:
        raise TenorError(f"Every test row has the same label; split by {name}. Is the file sorted by label? Use --split random.")


def _check_given(config: SplitConfig, train: int, test: int, second_file: int | None) -> None:
    if second_file is not None and (config.test_rows is not None or config.how == "official"):
        raise TenorError("--test excludes --test-rows and --split official: the rows of the second file are the test rows, all others train.")
    if config.how == "official" and second_file is None and (config.train_rows or config.test_rows):
        raise TenorError(f"--split official takes the data's own {train:,} and {test:,} rows; leave out --train-rows and --test-rows.")


def _official(parts: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own = np.array([p or "" for p in parts])
    train, validation, test = (np.flatnonzero(own == part) for part in ("train", "validation", "test"))
    if not len(train) or not len(test):
        named = ", ".join(sorted({p for p in own.tolist() if p})[:8])
        raise TenorError(f"--split official needs the data's own train and test rows (folders train and test, or these words in a column named split); {f'the parts here are {named}' if named else 'there are none'}. Use --split random.")
    return train, validation, test


def _numbers(rows: int, config: SplitConfig) -> tuple[int, int]:
    """How many rows train and test; without a wish a tenth tests, of small data a fifth (at most 200 rows then)."""
    test = config.test_rows
    if test is None:
        test = rows - config.train_rows if config.train_rows is not None else max(rows // 10, min(rows // 5, 200))
    train = config.train_rows if config.train_rows is not None else rows - test
    if train < 0 or test < 0 or train + test > rows:
        raise TenorError(f"{max(train, 0):,} training and {max(test, 0):,} test rows asked for; there are {rows:,} labelled rows. Lower --train-rows or --test-rows.")
    return train, test


def validation_split(y: np.ndarray, rows: np.ndarray, wish: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and, drawn from them at random with balance, validation rows; `wish` as in SplitConfig.validation."""
    return _draw(y, rows, validation_rows(len(rows), wish), seed + 1)


def validation_rows(train: int, wish: float | None) -> int:
    """Without a wish a twentieth, of small data up to a tenth; at most 2,000, which fix an accuracy of 0.93 to 0.011."""
    if wish is None:
        return 0 if train < 20 else max(min(train // 20, 2000), min(train // 10, 100))
    rows = round(wish * train) if wish < 1 else int(wish)
    if wish < 0 or rows >= train:
        raise TenorError(f"--validation takes rows from the {plural(train, 'training row')} and must leave some; got {wish:g}.")
    return rows


def _draw(y: np.ndarray, rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` of `rows` at random, each label in proportion; both parts in the order of the file."""
    if count <= 0:
        return rows, rows[:0]
    if count >= len(rows):
        return rows[:0], rows
    seen = Counter(y[rows].tolist())
    possible = min(seen.values()) > 1 and len(seen) <= min(count, len(rows) - count)
    rest, drawn = train_test_split(rows, test_size=count, random_state=seed, stratify=y[rows] if possible else None)
    return np.sort(rest), np.sort(drawn)
