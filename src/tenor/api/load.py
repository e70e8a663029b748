"""A model folder to the estimator of its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenor import store
from tenor.api.classify import Classifier
from tenor.api.estimator import Estimator
from tenor.api.generate import Generator
from tenor.api.tag import Tagger
from tenor.api.transcribe import Transcriber
from tenor.api.translate import Translator
from tenor.box.names import model_folder
from tenor.config import Device, ReadingPrecision
from tenor.tasks import task_of

_ESTIMATORS: dict[str, type[Estimator]] = {"classify": Classifier, "generate": Generator, "tag": Tagger, "transcribe": Transcriber, "translate": Translator}


def load(folder: str | Path, device: Device = "auto", precision: ReadingPrecision = "auto") -> Any:
    """The estimator (Classifier, Generator, Tagger, Transcriber, Translator) of a model folder, whoever wrote it; needs no training data and executes nothing.

    Args:
        folder: of the model, or "reviews-en" (a folder of that name is "./reviews-en").
        device: "auto", "cpu" or "cuda".
        precision: "auto", "float32", "bfloat16" or, to read faster, "int8" (one layer; x86 CPUs with AVX2), which is what auto takes for weights that are stored so (tenor shrink).

    Raises:
        TenorError: no model folder, damaged, changed, or of a newer format; no 8-bit products here.
    """
    stored = store.read(model_folder(folder))
    # A task without an estimator is refused by the classifier's pipeline, which says whose command it is.
    return _ESTIMATORS.get(task_of(stored.config), Classifier).of(stored, device, precision)
