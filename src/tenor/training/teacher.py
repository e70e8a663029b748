"""Texts without labels, labelled by a teacher: a trained classifier and a linear model together, each as far as it is to be believed.

A student that learns from a teacher's probabilities on texts that nobody labelled can be better than its teacher
(self-training; Xie et al. 2020, arXiv 1911.04252v4), and smaller (Hinton et al. 2015, arXiv 1503.02531v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_expit, log_softmax, softmax

from tenor.models.classify import read_logits
from tenor.pipelines.classification import Pipeline
from tenor.training.linear import Linear


@dataclass(frozen=True)
class Taught:
    """Cleaned texts and their [rows, labels] float32 probabilities; how much the network and the linear model counted, and their accuracy together on validation rows."""

    texts: Sequence[str]
    shares: np.ndarray
    weights: tuple[float, float]
    accuracy: float


def teach(pipeline: Pipeline, train_texts: Sequence[str], targets: np.ndarray, validation_texts: Sequence[str], validation_targets: np.ndarray, texts: Sequence[str]) -> Taught:
    """Label texts.

    Args:
        pipeline: the trained classifier. train_texts, targets: [rows] what it was trained on; the linear model is trained on the same, in its tokens.
        validation_texts, validation_targets: they decide how much each of the two counts; without any, both count alike.
        texts: to be labelled. All texts cleaned.
    """
    linear = Linear(pipeline.tokenizer.encode(train_texts), targets, len(pipeline.labels), len(pipeline.tokenizer))

    def both(some: Sequence[str]) -> np.ndarray:
        """[2, rows, labels] log-probabilities"""
        ids = pipeline.tokenizer.encode(some)
        network = read_logits(pipeline.network, pipeline.read(ids), pad_to=pipeline.pad_to)
        return np.stack([_log_shares(network), _log_shares(linear.logits(ids))])

    weights, accuracy = (0.5, 0.5), float("nan")
    if len(validation_texts):
        found = both(validation_texts)
        weights = blend(found, validation_targets)
        accuracy = float((np.tensordot(weights, found, 1).argmax(1) == validation_targets).mean())
    return Taught(texts, softmax(np.tensordot(weights, both(texts), 1), axis=1).astype(np.float32), weights, accuracy)


def blend(found: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The two weights, none below 0, with the least negative log-likelihood; a few rows hardly move them from a half each. found: [2, rows, labels] log-probabilities."""
    rows = np.arange(len(targets))

    def cost(weights: np.ndarray) -> float:
        return -float(log_softmax(np.tensordot(weights, found, 1), axis=1)[rows, targets].mean()) + 3 / len(rows) * float(((weights - 0.5) ** 2).sum())

    best = minimize(cost, np.array([0.5, 0.5]), bounds=[(0, 5), (0, 5)], method="L-BFGS-B").x
    return float(best[0]), float(best[1])


def _log_shares(logits: np.ndarray) -> np.ndarray:
    if logits.shape[1] == 1:
        return np.concatenate([log_expit(-logits), log_expit(logits)], 1)
    found: np.ndarray = log_softmax(logits, axis=1)
    return found
