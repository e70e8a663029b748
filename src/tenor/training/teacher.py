"""Texts without labels, labelled by teachers: trained classifiers and a linear model together, each as far as it is to be believed.

A student that learns from a teacher's probabilities on texts that nobody labelled can be better than its teacher
(self-training; Xie et al. 2020, arXiv 1911.04252v4), and smaller (Hinton et al. 2015, arXiv 1503.02531v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_expit, log_softmax, softmax

from tenor.errors import TenorError
from tenor.pipelines.classification import Pipeline
from tenor.training.linear import Linear
from tenor.training.texts import Labelled


@dataclass(frozen=True)
class Taught:
    """Cleaned texts and their [rows, labels] float32 probabilities, nan where there is no teacher; how much each teacher and, last, the linear model counted, and their accuracy together on validation rows."""

    texts: Sequence[str]
    shares: np.ndarray
    weights: tuple[float, ...]
    accuracy: float

    @classmethod
    def by_nobody(cls, texts: Sequence[str], labels: int) -> Taught:
        """Texts for an adversary (models/adversary.py): without teachers, their shares nan."""
        return cls(texts, np.full((len(texts), labels), np.nan, np.float32), (), float("nan"))


def teach(teachers: Sequence[Pipeline], rows: Labelled, texts: Sequence[str]) -> Taught:
    """Label texts.

    Args:
        teachers: trained classifiers, one at least.
        rows: with a label. The linear model is trained on those that train, in the first teacher's tokens; those of validation decide how much each model counts, and without any all count alike.
        texts: cleaned, to be labelled.

    Raises:
        TenorError: what a teacher says is no number.
    """
    first = teachers[0]
    linear = Linear(first.tokenizer.encode(rows.texts), rows.targets, len(first.labels), len(first.tokenizer))

    def said(some: Sequence[str]) -> np.ndarray:
        """[models, rows, labels] log-probabilities"""
        networks = [t.logits(some)[0] for t in teachers]
        return np.stack([log_shares(logits) for logits in (*networks, linear.logits(first.tokenizer.encode(some)))])

    models = len(teachers) + 1
    weights, accuracy = (1 / models,) * models, float("nan")
    if len(rows.validation_texts):
        found = said(rows.validation_texts)
        weights = blend(found, rows.validation_targets)
        accuracy = float((np.tensordot(weights, found, 1).argmax(1) == rows.validation_targets).mean())
    shares = softmax(np.tensordot(weights, said(texts), 1), axis=1).astype(np.float32)
    if not np.isfinite(shares).all():
        raise TenorError("A teacher must answer with numbers, and one of these does not: its weights are broken. Train it anew.")
    return Taught(texts, shares, weights, accuracy)


def blend(found: np.ndarray, targets: np.ndarray, belief: Sequence[float] = ()) -> tuple[float, ...]:
    """A weight a model, none below 0, with the least negative log-likelihood; a few rows hardly move them from what is believed: parts of 1, equal ones if none are given. found: [models, rows, labels] log-probabilities."""
    rows = np.arange(len(targets))
    believed = np.array(belief or (1 / len(found),) * len(found))

    def cost(weights: np.ndarray) -> float:
        return -float(log_softmax(np.tensordot(weights, found, 1), axis=1)[rows, targets].mean()) + 3 / len(rows) * float(((weights - believed) ** 2).sum())

    best = minimize(cost, believed, bounds=[(0, 5)] * len(found), method="L-BFGS-B").x
    return tuple(map(float, best))


def log_shares(logits: np.ndarray) -> np.ndarray:
    """[rows, 1] (two labels) or [rows, labels] logits -> [rows, labels] log-probabilities"""
    if logits.shape[1] == 1:
        return np.concatenate([log_expit(-logits), log_expit(logits)], 1)
    found: np.ndarray = log_softmax(logits, axis=1)
    return found
