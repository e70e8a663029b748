"""The linear baseline that stands beside every recurrent result: word pairs, TF-IDF, a linear SVM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from tenor.results.evaluate import interval

NAME = "TF-IDF of words and word pairs, linear SVM"


def baseline(train_texts: Sequence[str], train_targets: np.ndarray, test_texts: Sequence[str], test_targets: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Train and test it on the very rows of the network.

    Returns:
        Its metrics (name, rows, accuracy, accuracy_low, accuracy_high, seconds) and [rows] bool, right or not.
    """
    began = time.perf_counter()
    # The settings of Wang and Manning's bigram SVM in today's library; a word seen once cannot be learnt from.
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(train_texts) > 1000 else 1, token_pattern=r"(?u)\w+|[^\w\s]", dtype=np.float32)
    model = make_pipeline(words, LinearSVC(random_state=0))
    model.fit(train_texts, train_targets)
    right = model.predict(test_texts) == test_targets
    low, high = interval(int(right.sum()), len(right))
    result = {"name": NAME, "rows": len(right), "accuracy": float(right.mean()), "accuracy_low": low, "accuracy_high": high}
    return result | {"seconds": round(time.perf_counter() - began, 2)}, right
