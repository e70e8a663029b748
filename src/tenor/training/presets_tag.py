"""The settings of models that tag; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TagConfig, TextConfig, TrainConfig
from tenor.errors import TenorError
from tenor.training.presets import Preset, changed

# From runs of 10 epochs on conll2000's chunks with the column pos beside the words: 7,436 sentences to learn from, the last 1,500 of part train for validation (about 18,000 spans there:
# one standard error of F1 is about 0.2 points), one seed.
TAG = Preset(
    TextConfig(tokens="word", vocab=30_000),
    # Dropouts of 0.5 and 0.5: F1 93.85; of 0.3 and 0.5: 93.43. Those were 128 units; 200 were not compared. Characters read by filters (64, three wide) instead of the recurrent
    # layer, with the weaker dropouts: 93.70, no clear gain.
    TagConfig(cell="lstm", layers=1, hidden=200, embedding=100, embedding_dropout=0.5, dropout=0.5),
    TrainConfig(epochs=10, batch_size=32, learning_rate=6e-3, schedule="one_cycle", clip=1.0),
    SplitConfig(),
)


def tag_preset(**changes: Any) -> Preset:
    """Raises TenorError: an option of texts, which sentences have no use for; as `changed`."""
    for name, option in (("tokens", "--tokens"), ("max_tokens", "--max-tokens")):
        if changes.get(name) is not None:
            raise TenorError(f"--task tag has no {option}: each word of a sentence gets its tag. Leave it out.")
    return changed(TAG, changes)
