"""The trainings that an order of `tenor train` takes: those before the last one, the last, and who answers then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tenor.errors import plural
from tenor.jobs.info import beside_for
from tenor.jobs.prepare import Data, Order
from tenor.jobs.work import Say
from tenor.pipelines.classification import Pipeline
from tenor.pipelines.pretrained import Pretrained
from tenor.training.events import Events
from tenor.training.first import LEAST_ROWS, fit_beside, fit_first, from_language, is_few, joined, second_of, weighed
from tenor.training.fit import fit
from tenor.training.loop import Outcome
from tenor.training.presets import Preset
from tenor.training.teacher import Taught, teach
from tenor.training.texts import Labelled

LANGUAGE = "the classifier from the language model"
MANY_TEXTS = 1000  # whose labels' shares are then within 0.016 (a standard error) of those of all such texts


@dataclass(frozen=True)
class Before:
    """What there is before the last training."""

    taught: Taught | None = None  # the rows without a label, as the teachers label them, the preset's own first model among them
    first: Pipeline | None = None  # that one, if it will answer too
    beside: Pipeline | None = None  # of other sizes, if it will answer: what started from a language model, or from what answered beside in the start
    told: Sequence[str] = ()  # the sentences that were said on it


@dataclass(frozen=True)
class Course:
    """What the trainings of one order have in common."""

    order: Order
    data: Data
    rows: Labelled  # of the data, those that train and those of validation
    preset: Preset
    start: Pretrained | None
    events: Events
    work: Path
    say: Say

    def before(self, teachers: dict[str, Pipeline]) -> Before:
        """All trainings but the last. teachers: by their folder, those that the order names."""
        told: list[str] = []

        def tell(sentence: str, heading: str = "Teacher") -> None:
            told.append(sentence)
            self.say(heading, [sentence])

        others, few = self.data.others, is_few(len(self.rows.targets))
        other = partial(self._beside, partial(tell, heading="Beside"))
        first = beside = None
        if self.preset.language:
            first = fit_first(self.rows, others, self.preset, self.events, self.work, tell, self.start)
            teachers = {**teachers, LANGUAGE if few else "the first model": first}
        if self.preset.language and self.start and few:
            beside = first
        elif self.preset.language and self.start:
            beside = other(Taught.by_nobody(others, len(self.rows.labels)))
            assert beside
            teachers = {**teachers, LANGUAGE: beside}
        if not teachers:
            return Before(beside=other(None), told=told)
        self.events.training(f"a linear teacher; then all teachers label {plural(len(others), 'text')}, without a bar")
        frequent = self._frequent() if few and self.preset.language and len(others) >= MANY_TEXTS else None
        taught = teach(list(teachers.values()), self.rows, others, few=few, frequent=frequent)
        *networks, linear = taught.weights
        parts = [f"the logits of {folder} times {weight:.2f}" for folder, weight in zip(teachers, networks, strict=True)]
        found = f"; so they are right on {taught.accuracy:.2%} of the validation rows" if len(self.rows.validation_texts) else ""
        again = ", which has learnt from a first labelling of them by all" if few else ""
        held = "" if frequent is None else f"; each label is held to be as frequent among them as among the labelled rows ({_listed(self.rows.labels, frequent)}; the teachers alone said {_listed(self.rows.labels, taught.unheld)})"
        tell(f"{len(others):,} rows without a label are labelled by {', '.join(parts)} and those of a linear model of n-grams{again}, times {linear:.2f}{held}{found}.")
        return Before(taught, None if few else first, beside or other(taught), told)

    def _frequent(self) -> np.ndarray:
        """[labels] among the labelled rows of the source; those of --extra, which stand last, may be of another kind."""
        own = len(self.rows.targets) - self.data.findings.extra
        targets = np.concatenate([self.rows.targets[:own], self.rows.validation_targets])
        found: np.ndarray = np.bincount(targets, minlength=len(self.rows.labels)) / max(1, len(targets))
        return found

    def _beside(self, tell: Callable[[str], None], taught: Taught | None) -> Pipeline | None:
        settings = self.settings_beside()
        return fit_beside(self.rows, settings, self.events, self.work, tell, self._start_beside, taught) if settings and self._start_beside else None

    @property
    def _start_beside(self) -> Pretrained | None:
        """Where the network begins that will answer beside: in a language model (of --preset best), or in what answers beside in the start."""
        return self.start if self.preset.language else self.start and self.start.beside

    def settings_beside(self) -> Preset | None:
        """Of that network, if there is one."""
        own, rows = self._start_beside, self.data.learnt(self.preset)
        if not own or not self.preset.language:
            return self.order.preset(rows, own.settings) if own else None
        return from_language(own, self.preset, rows)

    def last(self, before: Before) -> tuple[Pipeline, Outcome]:
        """The last training; what was made before then answers with what it made."""
        settings = second_of(self.preset, len(self.rows.targets))
        if before.taught or before.beside:
            self.events.training("the last one, whose curves are drawn")
        own = None if self.preset.language else self.start  # where the preset trains twice, the first model starts there
        pipeline, outcome = fit(self.rows, settings, self.events, self.work, own, before.taught, before.first.pairs if before.first else None)
        together = joined(before.first, pipeline, self.preset) if before.first else pipeline
        if not before.beside:
            return together, outcome
        belief = self.start.share if self.start and self.start.beside else 0.5
        return weighed(together, before.beside, self.rows.validation_texts, self.rows.validation_targets, belief), outcome

    def answer(self, before: Before, both: Pipeline) -> list[str]:
        """Say who answers, which the folder's history does not show."""
        if not before.first and not before.beside:
            return []
        networks, old = both.model.networks, before.first.model.networks if before.first else 0
        texts, targets = self.rows.validation_texts, self.rows.validation_targets
        found = f", right on {(both.probabilities(texts)[0].argmax(1) == targets).mean():.2%} of the validation rows" if len(texts) else ""
        some = f"{plural(old, 'network')} of the labelled rows and {networks - old} that learnt from all" if old else plural(networks, "network") + (" that learnt from all rows" if before.taught else "")
        who = "the one beside" if self.start and self.start.labels else LANGUAGE
        other = f", and {who} {beside_for(both)}," if both.beside else ""
        lost = f" Left out, since it adds nothing on the validation rows: {who}." if before.beside and not both.beside else ""
        every = f" It reads every text: to ask it only where the others are not sure takes {LEAST_ROWS:,} validation rows (--validation {LEAST_ROWS})." if both.beside and 0 < len(texts) < LEAST_ROWS else ""
        verb = "answer together" if networks > 1 or both.beside else "answers alone"
        drawn = "are of those that learnt from all" if before.taught else "leave out the one beside"
        sentences = [f"{some}{other} {verb}{found}.{every}{lost} Curves and history {drawn}."]
        self.say("Answer", sentences)
        return sentences


def _listed(labels: Iterable[Any], shares: Iterable[float]) -> str:
    return ", ".join(f"{label} {share:.1%}" for label, share in zip(labels, shares, strict=True))
