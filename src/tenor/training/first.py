"""`--preset best` trains twice: a first model labels the texts without a label, and a second one learns from these too.

Where many rows have a label, the first model is of the same kind, trained on them alone, and both answer together: they err in
different places. With `--from` a language model, a classifier that starts from it learns from the same labels and, by an adversary,
from the texts without one; it labels them too, and answers beside the others.

Where few have one, the first model must know more than they tell: a language model of all texts (or that of `--from`), and a
classifier from that (Howard and Ruder 2018, arXiv 1801.06146v5) with an adversary, which labels them together with a linear model; with `--from` it answers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from tenor.errors import TenorError, plural
from tenor.models.classify import shares
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.events import Events
from tenor.training.fit import fit
from tenor.training.loop import Outcome
from tenor.training.presets import FINE_TUNE, OPPOSED, SMALL, Preset, changed, preset
from tenor.training.pretrain import kept_aside, pretrain
from tenor.training.teacher import Taught, blend, log_shares
from tenor.training.texts import Labelled, Tokenised

MOST_LOST = 0.004  # nats a row, of about 0.135 on film reviews: on 1,915 of them no label changes at a bound that loses four times as much, and at 0.002 1.6 times as many texts are read by both (docs/experiments.md)
OF_TWO = " (its train loss is of texts as they are and moved against it, the validation loss as they are)"
MOVES = "by an adversary from the rows without a label (virtual adversarial training)"
LEAST_ROWS = 1000  # the interval is a normal one, and what is lost is rare


def is_few(rows: int) -> bool:
    """Whether so many labelled rows are too few to learn from them alone."""
    return rows < SMALL


def fit_first(rows: Labelled, others: Sequence[str], asked: Preset, events: Events, work: Path, tell: Callable[[str], None], start: Pretrained | None = None) -> Pipeline:
    """Train it; what stands in `work` is gone on with.

    Args:
        rows: with a label; in the tokens of `start`, if there is one.
        others: cleaned texts without a label; where few rows have one, the language is learnt from them as well.
        asked: of the whole; `asked.language` is of the language model.
        events: is told how it goes. work: folder for the checkpoints, of each training in a folder of its own. tell: is given a sentence on each of them.
        start: where few rows have a label, the classifier starts from it; None: from a language model that is trained here.

    Returns:
        The classifier.

    Raises:
        TenorError: as pretrain and fit; or the training was asked to stop, and its checkpoint waits.
    """
    if not is_few(len(rows.targets)):
        events.training("a first model, of the labelled rows alone")
        first, outcome = fit(rows, _with(asked, asked.model.networks // 2), events, _folder(work, "first"))
        tell(f"A first model of the labelled rows alone, {_finished(outcome)}.")
        return first
    if not start:
        start = _language(rows.texts, others, asked, events, work, tell)
        rows = replace(rows, tokens=Tokenised.of(rows.texts, start.text, start.tokenizer))
    return fit_beside(rows, from_language(start, asked, len(rows.targets) + len(others)), events, work, tell, start, Taught.by_nobody(others, len(rows.labels)))


def fit_beside(rows: Labelled, settings: Preset, events: Events, work: Path, tell: Callable[[str], None], start: Pretrained, taught: Taught | None = None) -> Pipeline:
    """The classifier that answers beside others of other sizes: from a language model, or from what answered beside them before. As fit_first; settings: its own; taught: more texts."""
    who = "The classifier that answers beside the others" if start.labels else "A classifier from the language model"
    events.training(f"{who[0].lower()}{who[1:]}{OF_TWO if settings.train.adversary else ''}")
    beside, outcome = fit(rows, settings, events, _folder(work, "beside"), start, taught)
    how = MOVES if settings.train.adversary else "from the teachers' answers" if taught else ""
    tell(f"{who}, which{f' learns {how} too and' if how else ''} reads at most {settings.text.max_tokens} tokens: {_finished(outcome)}.")
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
    """Both answer, each as far as validation rows say that it is to be believed, and the one beside only where the first is not sure. A few rows hardly move its share from what is believed of it, and none leave it so. What adds nothing does not answer.

    Where the first answers alone it is made as sharp as its answers bear out, beside those of both: two networks trained in different ways are not equally sure, and one temperature is of all answers.
    """
    if not len(texts):
        return pipeline.answering_with(beside, belief)
    first = pipeline.logits(texts)[0]
    alone, other = log_shares(first), log_shares(beside.logits(texts)[0])
    weights = blend(np.stack([alone, other]), targets, (1 - belief, belief))
    own, others = weights if sum(weights) else (1 - belief, belief)  # nothing: both are worse than a guess
    if not others:
        return pipeline
    (sharp,) = blend(alone[None], targets, (own + others,))
    factor = max(0.1, (sharp - own) / others)  # so (own / factor + others) * factor = sharp: the mean of both stays what it was
    sure = sure_alone(shares(factor * first).max(1), (own + factor * others) * alone, own * alone + others * other, targets)
    if not sure:
        return pipeline
    if sure < 1:
        pipeline.sharpen(factor)
        own /= factor
    return pipeline.answering_with(beside, others / (own + others), sure)


def sure_alone(sure: np.ndarray, alone: np.ndarray, together: np.ndarray, targets: np.ndarray) -> float:
    """The probability above which the first one's answer stands alone, a cascade by confidence (Wang et al. 2021, arXiv 2012.01988v6).

    The bound goes down from the surest row, as long as other rows of the kind would by this lose at most MOST_LOST (the upper end of a
    one-sided 95 % interval of one bound; as many are tried, on 1,000 rows of film reviews it was more in 18 of 100 divisions). The temperature is fitted later, so what is then lost differs a little.

    Args:
        sure: [rows] the first one's probability of its label, as a reader has it.
        alone, together: [rows, labels] scores of the first and of both, as sharp as they answer; softmax makes them probabilities.
        targets: [rows] label indexes. Of fewer than LEAST_ROWS none stands alone.

    Returns:
        Halfway between two rows' probabilities; 1: none stands alone; 0: all do.
    """
    rows = np.arange(len(targets))
    if len(rows) < LEAST_ROWS:
        return 1.0
    lost = log_softmax(together, axis=1)[rows, targets] - log_softmax(alone, axis=1)[rows, targets]
    bounds, place = np.unique(-sure, return_inverse=True)  # the surest first
    mean, square = (np.cumsum(np.bincount(place, lost**power)) / len(rows) for power in (1, 2))  # of all rows, if those up to a bound stand alone
    most = mean + 1.645 * np.sqrt(np.maximum(square - mean**2, 0) / len(rows))
    enough = int(np.argmax([*(most > MOST_LOST), True]))  # so many bounds, before the first that loses more
    return float([1.0, *-(bounds[1:] + bounds[:-1]) / 2, 0.0][enough])


def _with(asked: Preset, networks: int) -> Preset:
    return replace(asked, model=replace(asked.model, networks=networks))


def from_language(start: Pretrained, asked: Preset, rows: int) -> Preset:
    """Settings of a classifier that starts from a language model and also learns by an adversary; rows: all that it learns from, without a label too."""
    limit = min(asked.text.max_tokens, FINE_TUNE.text.max_tokens)
    found = preset("base", rows, start.settings, max_tokens=limit, **_same(asked))
    return changed(found, OPPOSED | {"epochs": max(OPPOSED["epochs"], found.train.epochs)})


def _same(asked: Preset) -> dict[str, Any]:
    """What all trainings of the preset have in common."""
    return {key: getattr(asked.train, key) for key in ("seed", "device", "precision")}


def _language(train_texts: Sequence[str], others: Sequence[str], asked: Preset, events: Events, work: Path, tell: Callable[[str], None]) -> Pretrained:
    """A language model of all texts."""
    assert asked.language
    language = changed(asked.language, _same(asked))
    tell("Few training rows have a label, so a large classifier labels the others first: three trainings, of its language model, of it, and of what is kept. They may take hours; --resume goes on after any stop.")
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
