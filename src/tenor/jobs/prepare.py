"""What a training order needs before anything is trained: rows read, labels numbered, rows divided and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tenor.config import TextConfig
from tenor.data.checks import Findings, check_labels, check_rows
from tenor.data.columns import match_labels, order_labels
from tenor.data.datasets import Progress, place_of, resolve
from tenor.data.parts import is_test
from tenor.data.sources import Row, Rows, read_rows
from tenor.data.splits import Split, split_rows
from tenor.data.text import Tokenizer
from tenor.errors import TenorError, plural
from tenor.training.presets import Preset
from tenor.training.texts import Labelled, Tokenised


@dataclass(frozen=True)
class Order:
    """What the user asked for."""

    source: str
    out: Path
    preset: Callable[..., Preset]  # settings for a number of training rows (or None), and for the Start, if there is one
    test: str | None = None  # a second file
    extra: str | None = None  # more labelled rows, which only train
    start: Path | str | None = None  # a model folder to start from, or the name of one in the box
    teachers: Sequence[Path | str] = ()  # classifiers that label the rows without a label
    text: str | None = None
    label: str | None = None
    stars: str = "classes"
    keep_overlap: bool = False
    skip_bad: bool = False
    baseline: bool = True
    resume: bool = False
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True)
class Data:
    """Rows with their labels as indexes, divided."""

    names: list[str]
    rows: list[Row]
    targets: np.ndarray
    test_rows: list[Row]
    test_targets: np.ndarray
    split: Split
    findings: Findings
    sentences: list[str]
    others: list[str]  # distinct texts without a label, if there are teachers for them; none stands among the rows, or is of part test

    def texts(self, which: np.ndarray) -> list[str]:
        return [self.rows[i].text for i in which]

    def tokenised(self, config: TextConfig, tokenizer: Tokenizer | None) -> Labelled:
        """Rows that train and those of validation, in the tokens of a tokenizer, or of a new one."""
        train, validation = self.split.train, self.split.validation
        texts = self.texts(train)
        return Labelled(self.names, texts, Tokenised.of(texts, config, tokenizer), self.targets[train], self.texts(validation), self.targets[validation])

    def learnt(self, preset: Preset) -> int:
        """Rows that are learnt from, by which a preset sets its epochs."""
        return self.findings.train + (len(self.others) if preset.language else 0)


def prepare(order: Order, progress: Progress | None = None) -> Data:
    """Read, divide and check; what stands in two parts is dropped from the one that learns.

    Raises:
        TenorError: anything wrong with the files, the labels or the split.
    """
    source = _read(order.source, order, progress)
    check_labels([r.label for r in source.rows], source.name)
    names = order_labels(r.label for r in source.rows)
    targets = np.array(match_labels([r.label for r in source.rows], names, source.name), np.int64)
    second = _read(order.test, order, progress) if order.test else None
    if second and not second.rows:
        raise TenorError(f"No row of {second.name} has a label; a test file needs them. Choose the column with --label.")
    parts = [r.part for r in source.rows]
    wish = order.preset(None)
    split = split_rows(targets.tolist(), parts, wish.split, wish.train.seed, len(second.rows) if second else None)
    extra = _extra(order, {source.rows[i].text.casefold() for i in split.validation}, progress) if order.extra else None
    rows = source.rows
    if extra:
        more = match_labels([r.label for r in extra.rows], names, extra.name, "The training rows have")
        rows = [*rows, *(r._replace(label=names[i]) for r, i in zip(extra.rows, more, strict=True))]  # "pos" may stand where "positive" is meant
        targets = np.concatenate([targets, more])
        split = replace(split, train=np.concatenate([split.train, np.arange(len(source.rows), len(rows))]))
    test_rows = second.rows if second else rows
    test_targets = np.array(match_labels([r.label for r in second.rows], names, second.name, "The training rows have"), np.int64) if second else targets
    unlabelled = sum(read.unlabelled for read in (source, second, extra) if read)
    split, findings = check_rows(rows, split, test_rows, names, unlabelled, order.keep_overlap)
    findings = replace(findings, extra=int((split.train >= len(source.rows)).sum()))
    if len(set(targets[split.train].tolist())) < len(names):
        raise TenorError(f"All training rows of a label stand in the test rows too ({findings.overlap:,} rows were dropped). Give other test rows, or add --keep-overlap.")
    notes = [note for read in (source, second, extra) if read for note in read.notes]
    if wish.split.how == "official":
        used = ("train", "validation", "test") if wish.split.validation is None else ("train", "test")
        neither = sum(p not in used for p in parts)
        notes += [f"{plural(neither, 'row')} of none of the parts {', '.join(used)}: not used."] if neither else []
    elif {"train", "test"} <= set(parts) and not second:
        notes.append("The data has a split of its own into train and test; --split official uses it.")
    sizes = f"{findings.train:,} training, {findings.validation:,} validation, {findings.test:,} test rows (split: {split.name})."
    if extra:
        if not findings.extra:
            raise TenorError(f"--extra names more rows to learn from; each of {order.extra} has the text of a validation or test row. Give others, or leave it out.")
        notes.insert(0, f"{plural(findings.extra, 'row')} of the training rows {'is' if findings.extra == 1 else 'are'} of {order.extra}.")
    others = _others(source, [*rows, *(second.rows if second else [])])
    if not others and (order.teachers or wish.language):
        learning, way = ("A teacher labels rows without a label", "leave --teacher out") if order.teachers else ("--preset best learns from rows without a label", "use --networks 4 with another preset")
        unfit = " but empty ones, copies of others or rows of part test" if source.others else ""
        raise TenorError(f"{learning}, and {order.source} has none{unfit}. Add such rows, or {way}.")
    return Data(names, rows, targets, test_rows, test_targets, split, findings, [sizes, *notes, *findings.sentences(dropped=not order.keep_overlap, learnt=len(others))], others)


def _read(source: str, order: Order, progress: Progress | None) -> Rows:
    return read_rows(resolve(source, progress), order.text, order.label, order.stars, order.skip_bad, others=bool(order.teachers or order.preset(None).language))


def _extra(order: Order, validation: set[str], progress: Progress | None) -> Rows:
    """More rows that train. Those of part test are left out, and those with a text of `validation` (folded), which stays where it is; check_rows drops those with the text of a test row."""
    assert order.extra
    for what, other in (("the source", order.source), ("--test", order.test)):
        if other and place_of(order.extra) == place_of(other):
            raise TenorError(f"--extra names more labelled rows to learn from; {order.extra} is read already, as {what}. Name another file, or leave it out.")
    found = _read(order.extra, order, progress)
    learnt = [r for r in found.rows if not is_test(r.part)]
    if not learnt:
        raise TenorError(f"--extra names more labelled rows to learn from; {found.name} has none{' but those of part test' if found.rows else ''}. Choose the column with --label, or leave it out.")
    apart = [r for r in learnt if not r.text or r.text.casefold() not in validation]
    lost = {"of part test": len(found.rows) - len(learnt), "with the text of a validation row": len(learnt) - len(apart)}
    notes = [f"{plural(count, 'row')} of {found.name} {which}: left out." for which, count in lost.items() if count]
    return replace(found, rows=apart, notes=[*found.notes, *notes])


def _others(source: Rows, labelled: Iterable[Row]) -> list[str]:
    known = {r.text.casefold() for r in labelled}
    return [t for t in dict.fromkeys(r.text for r in source.others if not is_test(r.part)) if t and t.casefold() not in known]
