"""What is wrong with the data, in plain words, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tenor.data.sources import Row
from tenor.data.splits import Split
from tenor.errors import TenorError, plural

FEW_ROWS = 100
FEW_VALIDATION = 30  # the 95 % interval of an accuracy is then 0.3 wide and more


@dataclass(frozen=True)
class Findings:
    """What was found; train, validation and balance are of what is left after dropping, all else of what came."""

    train: int
    validation: int
    test: int
    unlabelled: int
    empty: int
    duplicates: int  # rows whose text stands earlier in the same part
    contradictory: int  # texts that occur with different labels
    example: str  # where one of these stands
    overlap: int  # training and validation rows with the text of a test row
    repeated: int  # validation rows with the text of a training row
    balance: dict[str, float]  # share of each label in the training rows
    extra: int = 0  # of train, rows that came besides the source's own

    def sentences(self, dropped: bool, learnt: int = 0) -> list[str]:
        """One sentence a finding; the first is always the balance. dropped: whether rows with the text of a test row were; learnt: texts without a label that are learnt from."""
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.balance.items())
        out = [f"Labels in the training rows: {shares}."]
        if max(self.balance.values()) > 0.8:
            out.append("One label holds more than 80 % of them: read F1 and AUC, not the accuracy alone.")
        if self.train < FEW_ROWS:
            out.append(f"{plural(self.train, 'training row')} {'is' if self.train == 1 else 'are'} few: with fewer than {FEW_ROWS} it hangs much on chance what is learnt. More rows help most.")
        if not self.validation:
            out.append("No validation rows: the last epoch is kept, and probabilities are not calibrated.")
        elif self.validation < FEW_VALIDATION:
            out.append(f"{plural(self.validation, 'validation row')} {'is' if self.validation == 1 else 'are'} few: with fewer than {FEW_VALIDATION} it hangs much on chance what they choose, such as an epoch. --validation keeps more aside.")
        if self.unlabelled:
            out.append(f"{plural(self.unlabelled, 'row')} without a label; {f'{learnt:,} texts of them are learnt from too' if learnt else 'left out'}.")
        if self.empty:
            out.append(f"{plural(self.empty, 'text')} without words; kept, and answered with what holds for a text of no words.")
        if self.duplicates:
            out.append(f"{plural(self.duplicates, 'row')} with a text that stands earlier in the same part (training, validation or test).")
        if self.contradictory:
            out.append(f"{plural(self.contradictory, 'text')} with different labels ({self.example}): nobody can get all of these right.")
        if self.overlap:
            done = "dropped" if dropped else "kept, as you asked: the test result is too good"
            out.append(f"{plural(self.overlap, 'training or validation row')} with the text of a test row; {done}.")
        if self.repeated:
            out.append(f"{plural(self.repeated, 'validation row')} with the text of a training row; dropped from validation.")
        return out

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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


def check_rows(rows: Sequence[Row], split: Split, test_rows: Sequence[Row], names: Sequence[str], unlabelled: int, keep_overlap: bool) -> tuple[Split, Findings]:
    """Compare texts without regard to case, and drop what stands in two parts.

    Args:
        rows: labelled rows, which split.train and split.validation index.
        test_rows: what split.test indexes (`rows` itself, or those of a second file).
        names: the labels in the model's order.
        unlabelled: rows left out for want of a label.
        keep_overlap: leave training rows in that have the text of a test row.

    Returns:
        The split without training and validation rows that stand in the test, nor validation rows that stand in the
        training rows; what was found.
    """
    keys = [r.text.casefold() for r in rows]
    test_keys = keys if test_rows is rows else [r.text.casefold() for r in test_rows]
    parts = [[keys[i] for i in split.train], [keys[i] for i in split.validation], [test_keys[i] for i in split.test]]
    learn = [(keys[i], rows[i]) for part in (split.train, split.validation) for i in part]
    contradictions = _contradictions([*learn, *((test_keys[i], test_rows[i]) for i in split.test)])
    in_test = set(parts[2]) - {""}
    overlap = sum(key in in_test for key, _ in learn)
    train, learnt = split.train, split.validation
    if not keep_overlap:
        train, learnt = (part[[keys[i] not in in_test for i in part]] for part in (train, learnt))
    in_train = {keys[i] for i in train} - {""}
    validation = learnt[[keys[i] not in in_train for i in learnt]]
    counts = Counter(rows[i].label for i in train)
    findings = Findings(
        train=len(train),
        validation=len(validation),
        test=len(split.test),
        unlabelled=unlabelled,
        empty=sum(not k for part in parts for k in part),
        duplicates=sum(len(part) - len(set(part)) for part in parts),
        contradictory=len(contradictions),
        example=next(iter(contradictions.values()), ""),
        overlap=overlap,
        repeated=len(learnt) - len(validation),
        balance={name: counts[name] / max(1, len(train)) for name in names},
    )
    return Split(train, validation, split.test, split.name), findings


def _contradictions(found: Sequence[tuple[str, Row]]) -> dict[str, str]:
    """Texts with more than one label, each with the lines of two such rows."""
    first: dict[str, Row] = {}
    out: dict[str, str] = {}
    for key, row in found:
        earlier = first.setdefault(key, row)
        if key and earlier.label != row.label:
            out.setdefault(key, f"as in lines {earlier.line:,} and {row.line:,}")
    return out
