"""Lexicon and network together: words in, tags out. What a model folder of the task tag rebuilds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from tenor.cells.hardware import choose_device, choose_dtype
from tenor.config import Device, ModelConfig, ReadingPrecision, TagConfig, build, check
from tenor.data.lexicon import Lexicon, folded
from tenor.data.tagged import Sentence
from tenor.errors import TenorError, plural
from tenor.models.tag import measured, tagged, tagger
from tenor.models.weights import fitting
from tenor.store import Stored
from tenor.tasks import check_task


class Tagging:
    """A tagger ready for sentences.

    Args:
        lexicon: what it knows by name.
        model: the network's sizes.
        device, precision: where and how it computes.
    """

    def __init__(self, lexicon: Lexicon, model: TagConfig, device: Device = "auto", precision: ReadingPrecision = "auto") -> None:
        if precision == "int8":
            raise TenorError("Precision int8 is for reading with a classifier; a model that tags has none. Use bfloat16 or float32.")
        self.lexicon, self.model = lexicon, model
        where = choose_device(device)
        self.network = tagger(lexicon, model, choose_dtype(precision, where, ModelConfig(cell=model.cell, hidden=model.hidden))).to(where)

    @property
    def path(self) -> str:
        return self.network.path

    @property
    def beside(self) -> list[str]:
        """The columns that it reads beside the words."""
        return list(self.lexicon.beside)

    def tags(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """A tag for each word; a sentence without words gets none. What stands beside the words may be left out, and is then unknown."""
        filled = [s for s in sentences if s.words]
        if not filled:
            return [[] for _ in sentences]
        data = self.lexicon.encode([s._replace(tags=[]) for s in filled])
        numbers = tagged(self.network, data)
        said = (self.lexicon.said(numbers[start:end]) for start, end in zip(data.forms.offsets, data.forms.offsets[1:], strict=False))
        return [next(said) if s.words else [] for s in sentences]

    def measure(self, sentences: Sequence[Sentence]) -> dict[str, Any]:
        """The numbers of models.tag.measured on sentences with their right tags; unknown_words (the share of words that it has no vector for), and notes on tags that it does not know.

        Raises:
            TenorError: there is no word.
        """
        sentences = [s for s in sentences if s.words]
        if not sentences:
            raise TenorError("Measuring a tagger needs at least one sentence with words; there is none.")
        right = [s.tags for s in sentences]
        found = measured(right, self.tags(sentences))
        known, names = set(self.lexicon.words), set(self.lexicon.tags)
        unknown = sum(folded(w) not in known for s in sentences for w in s.words)
        never = Counter(t for tags in right for t in tags if t not in names)
        notes = []
        if never:
            listed = ", ".join(f"{tag} ({plural(n, 'word')})" for tag, n in never.most_common(10))
            notes.append(f"Tags that never occurred in training, so that these words are counted as wrong: {listed}{' ...' if len(never) > 10 else ''}.")
        return found | {"unknown_words": unknown / found["words"], "notes": notes}

    def stored(self, more: dict[str, Any], metrics: dict[str, Any], history: list[dict[str, Any]]) -> Stored:
        weights = {k: v.detach().cpu().numpy() for k, v in self.network.state_dict().items()}
        return Stored({"task": "tag", "beside": self.beside, "model": asdict(self.model)} | more, self.lexicon.to_json(), weights, metrics, history)

    def take(self, weights: dict[str, torch.Tensor]) -> None:
        """Weights by their names in the network's state dict."""
        self.network.load_state_dict(weights)
        self.network.eval()

    @classmethod
    def rebuilt(cls, stored: Stored, device: Device = "auto", precision: ReadingPrecision = "auto") -> Tagging:
        """Raises TenorError if the folder is of another task, or lexicon, settings and weights do not fit each other."""
        check_task(stored.config, "tag")
        model = build(TagConfig, stored.config.get("model", {}))
        check(model)
        lexicon = Lexicon.from_json(stored.tokenizer)
        fitted = fitting(lambda: tagger(lexicon, model), stored.weights)
        made = cls(lexicon, model, device, precision)
        made.take(fitted)
        return made
