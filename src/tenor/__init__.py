"""Tenor: recurrent sequence models (RNN, GRU, LSTM) from a CSV to a model in use, on an ordinary CPU."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenor.api.classify import Classifier
    from tenor.api.generate import Generator
    from tenor.api.load import load
    from tenor.api.tag import Tagger
    from tenor.api.transcribe import Transcriber
    from tenor.api.translate import Translator
    from tenor.errors import TenorError

__all__ = ["Classifier", "Generator", "Tagger", "TenorError", "Transcriber", "Translator", "load"]
_HOME = {"Classifier": "tenor.api.classify", "Generator": "tenor.api.generate", "Tagger": "tenor.api.tag", "Translator": "tenor.api.translate", "load": "tenor.api.load", "TenorError": "tenor.errors", "Transcriber": "tenor.api.transcribe"}


def __getattr__(name: str) -> Any:
    """Load torch and scikit-learn when they are first needed, not on import."""
    if name == "__version__":
        return version("tenor")
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tenor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
