"""Tenor: recurrent sequence models (RNN, GRU, LSTM) from a CSV to a model in use, on an ordinary CPU."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenor.api import Classifier, load
    from tenor.api_generate import Generator
    from tenor.api_tag import Tagger
    from tenor.api_transcribe import Transcriber
    from tenor.api_translate import Translator
    from tenor.errors import TenorError

__all__ = ["Classifier", "Generator", "Tagger", "TenorError", "Transcriber", "Translator", "load"]
_HOME = {"Classifier": "tenor.api", "Generator": "tenor.api_generate", "Tagger": "tenor.api_tag", "Translator": "tenor.api_translate", "load": "tenor.api", "TenorError": "tenor.errors", "Transcriber": "tenor.api_transcribe"}


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
