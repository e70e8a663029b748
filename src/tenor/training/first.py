"""`--preset best` trains twice: a first model labels the texts without a label, and a second one learns from these too.

Where many rows have a label, the first model is of the same kind, trained on them alone, and both answer together: they err in
different places. With `--from` a language model, a classifier that starts from it learns from the same labels, and answers beside them.

Where few have one, the first model must know more than they tell: a language model of all texts (or that of `--from`), large
classifiers from that (Howard and Ruder 2018, arXiv 1801.06146v5), which only teach. What answers beside the small networks learns from its labels, as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from tenor.errors import TenorError, plural
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.events import Events
from tenor.training.fit import Tokenised, fit
from tenor.training.loop import Outcome
from tenor.training.presets import FINE_TUNE, SMALL, Preset, changed, preset
from tenor.training.pretrain import kept_aside, pretrain
from tenor.training.teacher import Taught, blend, log_shares

LARGE = 3  # classifiers that label together where few rows have a label: with the linear model 0.866 of 5,910 rows in two draws of 500, one of them 0.862 and 0.859
MOST_LOST = 0.001  # nats a row; the model of the box has about 0.14
LEAST_ROWS = 1000  # that say it: of 1,915 with three quarters alone none had another label than both give it


def is_few(rows: int) -> bool:
    """Whether so many labelled rows are too few to learn from them alone."""
    return rows < SMALL


def fit_first(
    labels: Sequence[Any],
    train_texts: Sequence[str],
    train: Tokenised,
    targets: np.ndarray,
    validation_texts: Sequence[str],
    validation_targets: np.ndarray,
    others: Sequence[str],
    asked: Preset,
    events: Events,
    work: Path,
    tell: Callable[[str], None],
    start: Pretrained | None = None,
) -> Pipeline:
    """Train it; what stands in `work` is gone on with.

    Args:
        labels: names in the model's order.
        train_texts, validation_texts: cleaned; targets, validation_targets: [rows] int64 label indexes. train: the tokens of the first, of `start` if there is one.
        others: cleaned texts without a label; where few rows have one, the language is learnt from them as well.
        asked: of the whole; `asked.language` is of the language model.
        events: is told how it goes. work: folder for the checkpoints, of each training in a folder of its own. tell: is given a sentence on each of them.
        start: where few rows have a label, the large classifiers start from it; None: from a language model that is trained here.

    Returns:
        The classifier.

    Raises:
        TenorError: as pretrain and fit; or the training was asked to stop, and its checkpoint waits.
    """
    if not is_few(len(targets)):
        events.training("a first model, of the labelled rows alone")
        first, outcome = fit(labels, train, targets, validation_texts, validation_targets, _with(asked, asked.model.networks // 2), events, _folder(work, "first"))
        tell(f"A first model of the labelled rows alone, {_finished(outcome)}.")
        return first
    if not start:
        start = _language(train_texts, others, asked, events, work, tell)
        train = Tokenised.of(train_texts, start.text, start.tokenizer)
    settings = _with(from_language(start, asked, len(targets)), LARGE)
    events.training("large classifiers, which will label the other texts")
    first, outcome = fit(labels, train, targets, validation_texts, validation_targets, settings, events, _folder(work, "large"), start)
    tell(f"{LARGE} large classifiers from it that answer together, {_finished(outcome)}.")
    return first


def fit_beside(
    labels: Sequence[Any],
    train: Tokenised,
    targets: np.ndarray,
    validation_texts: Sequence[str],
    validation_targets: np.ndarray,
    settings: Preset,
    events: Events,
    work: Path,
    tell: Callable[[str], None],
    start: Pretrained,
    taught: Taught | None = None,
) -> Pipeline:
    """The classifier that answers beside others of other sizes: from a language model, or from what answered beside them before. As fit_first; train: in the tokens of `start`; settings: its own."""
    events.training("the network that answers beside the others")
    beside, outcome = fit(labels, train, targets, validation_texts, validation_targets, settings, events, _folder(work, "beside"), start, taught)
    who = "The classifier that answers beside the others" if start.labels else "A classifier from the language model"
    too = " learns from the teachers' answers too and" if taught else ""
    tell(f"{who}, which{too} reads at most {settings.text.max_tokens} tokens: {_finished(outcome)}.")
    return beside


def second_of(asked: Preset, rows: int) -> Preset:
    """Settings of the model that learns from the first one too, if there is one; rows: that have a label."""
    if is_few(rows) or not asked.language:
        return asked
    other = replace(asked, train=replace(asked.train, seed=asked.train.seed + 1))  # other first weights: both answer together
    return _with(other, asked.model.networks - asked.model.networks // 2)


def joined(first: Pipeline, second: Pipeline, asked: Preset) -> Pipeline:
    """Both answer together; they are of one shape and read the same tokens and pairs."""
    both = Pipeline(second.labels, second.tokenizer, second.text, asked.model, asked.train.device, asked.train.precision, second.pairs)
    for member, trained in zip(both.network.members, (*first.network.members, *second.network.members), strict=True):
        member.load_state_dict(trained.state_dict())
    both.network.eval()
    return both


def weighed(pipeline: Pipeline, beside: Pipeline, texts: Sequence[str], targets: np.ndarray, belief: float = 0.5) -> Pipeline:
    """Both answer, each as far as validation rows say that it is to be believed, and the one beside only where the first is not sure. A few rows hardly move its share from what is believed of it, and none leave it so. What adds nothing does not answer."""
    own, other = 1 - belief, belief
    found = np.stack([log_shares(p.logits(texts)[0]) for p in (pipeline, beside)]) if len(texts) else np.empty((2, 0, 2))
    if len(texts):
        own, other = blend(found, targets, (own, other))
    if not own + other:  # both are worse than a guess
        own, other = 1 - belief, belief
    if not other:
        return pipeline
    together = own * found[0] + other * found[1]
    return pipeline.answering_with(beside, other / (own + other), sure_alone(found[0], together, own + other, targets))


def sure_alone(alone: np.ndarray, together: np.ndarray, sharpness: float, targets: np.ndarray) -> float:
    """The lowest probability above which a first answer may stand alone: then the log-likelihood of all rows falls by at most MOST_LOST.

    That is a cascade by confidence (Wang et al. 2021, arXiv 2012.01988v6): most texts are read by what reads them fast.

    Args:
        alone: [rows, labels] log-probabilities of the first. together: of both, as weighed, not normalised.
        sharpness: what `alone` is multiplied by to be as sure as `together`.
        targets: [rows] label indexes. Of fewer than LEAST_ROWS none stands alone: 1.
    """
    rows = np.arange(len(targets))
    if len(rows) < LEAST_ROWS:
        return 1.0
    lost = log_softmax(together, axis=1)[rows, targets] - log_softmax(sharpness * alone, axis=1)[rows, targets]
    bounds, place = np.unique(np.exp(alone.max(1)), return_inverse=True)
    up_to = np.cumsum(np.bincount(place, lost))  # what would be lost on rows at each bound and below
    bounds[-1] = 1.0  # above the last of them there is no row to tell
    return float(bounds[np.flatnonzero(up_to[-1] - up_to <= MOST_LOST * len(rows))[0]])


def _with(asked: Preset, networks: int) -> Preset:
    return replace(asked, model=replace(asked.model, networks=networks))


def from_language(start: Pretrained, asked: Preset, rows: int) -> Preset:
    """Settings of a classifier that starts from a language model."""
    limit = min(asked.text.max_tokens, FINE_TUNE.text.max_tokens)
    return preset("base", rows, start.settings, label_smoothing=asked.train.label_smoothing, max_tokens=limit, **_same(asked))


def _same(asked: Preset) -> dict[str, Any]:
    """What all trainings of the preset have in common."""
    return {key: getattr(asked.train, key) for key in ("seed", "device", "precision")}


def _language(train_texts: Sequence[str], others: Sequence[str], asked: Preset, events: Events, work: Path, tell: Callable[[str], None]) -> Pretrained:
    """A language model of all texts."""
    assert asked.language
    language = changed(asked.language, _same(asked))
    tell("Few training rows have a label, so large networks label the others first: three trainings, of their language model, of them, and of what is kept. They may take hours; --resume goes on after any stop.")
    learn, check = kept_aside(list(dict.fromkeys([*train_texts, *others])), language.train.seed)
    tokens = Tokenised.of(learn, language.text)
    events.training("a language model of all texts (accuracy: of the words among those drawn)")
    start, outcome = pretrain(tokens, check, language, events, _folder(work, "language"))
    _finished(outcome)
    heard = outcome.history[outcome.best_epoch - 1]["validation_loss"]
    size = f"{language.model.cell.upper()} of {plural(language.model.hidden, 'unit')} a direction"
    tell(f"A language model ({size}) of {len(learn):,} texts: {heard:.3f} nats a word among the drawn after {plural(outcome.best_epoch, 'epoch')}.")
    return start


def _folder(work: Path, name: str) -> Path:
    (work / name).mkdir(parents=True, exist_ok=True)
    return work / name


def _finished(outcome: Outcome) -> str:
    """How it went; raises TenorError where it was stopped."""
    if not outcome.finished:
        raise TenorError("Stopped before the last training had begun, so there is no model yet. Go on with the same command and --resume.")
    right = outcome.history[outcome.best_epoch - 1].get("validation_accuracy")
    return f"epoch {outcome.best_epoch} of {len(outcome.history)} kept" + ("" if right is None else f", right on {right:.2%} of the validation rows")
