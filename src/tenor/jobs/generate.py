"""`tenor generate`, and `tenor evaluate` of a model that generates."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tenor.data.datasets import Progress, resolve
from tenor.data.plain import read_plain_or_texts
from tenor.errors import TenorError, plural
from tenor.generation import Generation
from tenor.models.generate import Sampling


def any_seed() -> int:
    return secrets.randbelow(2**32)


def written(made: Generation, prompt: str, samples: int, length: int, sampling: Sampling, stop: str) -> dict[str, Any]:
    """prompt, texts (what comes after it), seed, characters, seconds and characters_per_second. Raises TenorError: as Generation.prompt."""
    began = time.perf_counter()
    texts = made.several(prompt, samples, length, sampling, stop)
    seconds, characters = time.perf_counter() - began, sum(map(len, texts))
    return {"prompt": prompt, "texts": texts, "seed": sampling.seed, "characters": characters, "seconds": round(seconds, 4), "characters_per_second": round(characters / seconds)}


def evaluate_generator(source: str, made: Generation, part: str | None, text: str | None, skip_bad: bool, progress: Progress | None = None) -> dict[str, Any]:
    """The numbers of Generation.measure on all texts of a source (of a part: only these), with seconds and notes.

    Raises:
        TenorError: no text, or anything wrong with the files.
    """
    found = read_plain_or_texts(resolve(source, progress), text, skip_bad)
    texts = {"train": found.texts, "test": found.test}.get(part or "", [*found.texts, *found.test])
    if not texts:
        raise TenorError(f"No text in {found.name}{f' is of part {part!r}' if part else ''}; evaluation needs at least one. Choose the column with --text.")
    began = time.perf_counter()
    result = made.measure(texts)
    notes = list(found.notes)
    if result["unknown"]:
        notes.append(f"{plural(result['unknown'], 'token')} never occurred in training and are not counted.")
    return result | {"seconds": round(time.perf_counter() - began, 3), "notes": notes}
