"""Texts without labels, labelled by teachers: trained classifiers and a linear model together, each as far as it is to be believed.

A student that learns from a teacher's probabilities on texts that nobody labelled can be better than its teacher
(self-training; Xie et al. 2020, arXiv 1911.04252v4), and smaller (Hinton et al. 2015, arXiv 1503.02531v1). Where few rows have a
label, the linear model is such a student before it is a teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_expit, log_softmax, logsumexp, softmax

from tenor.errors import TenorError
from tenor.pipelines.classification import Pipeline
from tenor.training.linear import Linear, taught_linear
from tenor.training.texts import Labelled


@dataclass(frozen=True)
class Taught:
    """Texts, and what teachers say of them.

    Attributes:
        texts: cleaned.
        shares: [rows, labels] float32 probabilities, nan where there is no teacher.
        weights: how much each teacher and, last, the linear model counted.
        accuracy: of all together on validation rows (of those that taught_linear answers by the mean of its models, so a little better than that of the texts).
        unheld: [labels] mean probabilities before they were held to what they shall be; empty where they were not.
    """

    texts: Sequence[str]
    shares: np.ndarray
    weights: tuple[float, ...]
    accuracy: float
    unheld: tuple[float, ...] = ()

    @classmethod
    def by_nobody(cls, texts: Sequence[str], labels: int) -> Taught:
        """Texts for an adversary (models/adversary.py): without teachers, their shares nan."""
        return cls(texts, np.full((len(texts), labels), np.nan, np.float32), (), float("nan"))


def teach(teachers: Sequence[Pipeline], rows: Labelled, texts: Sequence[str], *, few: bool = False, frequent: np.ndarray | None = None) -> Taught:
    """Label texts.

    Args:
        teachers: trained classifiers, one at least.
        rows: with a label. The linear model is trained on those that train, in the first teacher's tokens; those of validation decide how much each model counts, and without any all count alike.
        texts: cleaned, to be labelled.
        few: whether few rows have a label. A linear model of them alone knows little, so it learns a second time, from the texts as all have labelled them (taught_linear).
        frequent: [labels], how frequent each label shall be among the texts (offsets), where this is better known than where one label ends and the other begins; None: as the teachers say.

    Raises:
        TenorError: what a teacher says is no number.
    """
    first, checks = teachers[0], len(rows.validation_texts)
    labels, vocab = len(first.labels), len(first.tokenizer)
    both = [*rows.validation_texts, *texts]
    ids, asked = first.tokenizer.encode(rows.texts), first.tokenizer.encode(both)
    networks = np.stack([log_shares(t.logits(both)[0]) for t in teachers])  # [teachers, rows, labels]

    def together(linear: np.ndarray) -> Taught:
        found = np.concatenate([networks, log_shares(linear)[None]])
        weights = blend(found[:, :checks], rows.validation_targets) if checks else (1 / len(found),) * len(found)
        said = np.tensordot(weights, found, 1)
        if not np.isfinite(said[checks:]).all():
            raise TenorError("A teacher must answer with numbers, and one of these does not: its weights are broken. Train it anew.")
        unheld: tuple[float, ...] = ()
        if frequent is not None:
            unheld = tuple(map(float, softmax(said[checks:], axis=1).mean(0)))
            said += offsets(said[checks:], frequent)
        accuracy = float((said[:checks].argmax(1) == rows.validation_targets).mean()) if checks else float("nan")
        return Taught(texts, softmax(said[checks:], axis=1).astype(np.float32), weights, accuracy, unheld)

    found = together(Linear(ids, rows.targets, labels, vocab).logits(asked))
    return together(taught_linear(ids, rows.targets, asked, found.shares.argmax(1), labels, vocab)) if few else found


def blend(found: np.ndarray, targets: np.ndarray, belief: Sequence[float] = ()) -> tuple[float, ...]:
    """A weight a model, none below 0, with the least negative log-likelihood; a few rows hardly move them from what is believed: parts of 1, equal ones if none are given. found: [models, rows, labels] log-probabilities."""
    rows = np.arange(len(targets))
    believed = np.array(belief or (1 / len(found),) * len(found))

    def cost(weights: np.ndarray) -> float:
        return -float(log_softmax(np.tensordot(weights, found, 1), axis=1)[rows, targets].mean()) + 3 / len(rows) * float(((weights - believed) ** 2).sum())

    best = minimize(cost, believed, bounds=[(0, 5)] * len(found), method="L-BFGS-B").x
    return tuple(map(float, best))


def offsets(said: np.ndarray, frequent: np.ndarray) -> np.ndarray:
    """[labels], to be added to all scores, so that the mean probability of each label is what it shall be (distribution alignment; Berthelot et al. 2020, arXiv 1911.09785v2).

    Of two draws of 500 reviews one had teachers that called 0.42 of the other texts positive, where 0.5 are; so its labels were right on 0.874, and then on 0.897 (docs/experiments.md).

    Args:
        said: [texts, labels] scores; softmax makes them probabilities.
        frequent: [labels], none of them 0.
    """

    def cost(moves: np.ndarray) -> tuple[float, np.ndarray]:  # convex, and flat where the means are right
        moved = said + moves
        return float(logsumexp(moved, axis=1).mean() - frequent @ moves), softmax(moved, axis=1).mean(0) - frequent

    found: np.ndarray = minimize(cost, np.zeros(said.shape[1]), jac=True, method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 0}).x
    return found


def log_shares(logits: np.ndarray) -> np.ndarray:
    """[rows, 1] (two labels) or [rows, labels] logits -> [rows, labels] log-probabilities"""
    if logits.shape[1] == 1:
        return np.concatenate([log_expit(-logits), log_expit(logits)], 1)
    found: np.ndarray = log_softmax(logits, axis=1)
    return found
