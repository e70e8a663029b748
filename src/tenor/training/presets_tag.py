"""The settings of models that tag; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TagConfig, TextConfig, TrainConfig
from tenor.errors import TenorError
from tenor.training.presets import Preset, changed

# From runs of 10 epochs on conll2000's chunks with the column pos beside the words: 7,436 sentences to learn from, the last 1,500 of part train for validation (about 18,000 spans there:
# one standard error of F1 is about 0.2 points, and two seeds differ by as much).
TAG = Preset(
    TextConfig(tokens="word", vocab=30_000),
    # Dropouts of 0.5 and 0.5: F1 93.85; of 0.3 and 0.5: 93.43. Those were 128 units; 200 were not compared. Characters read by filters (64, three wide) instead of the recurrent
    # layer, with the weaker dropouts: 93.70, no clear gain.
    # With the ends of spans told apart (Lexicon.ends), and without; a number a seed. 1 layer 93.96 and 94.17 (without 93.94, 93.98), in batches of 16 at 4e-3 94.24, 94.07 (without 94.12; 15 epochs 94.10,
    # 94.06); 2 layers 94.45, 94.12 (without 94.12), in batches of 16 94.49, 94.40 (without 94.20, 94.33), with dropout on what the second layer reads too 94.08, 12 epochs with more for the spelling (64, 48)
    # 94.45, 94.33; in batches of 8 at 3e-3 94.50. 1 layer without ends: 300 units 93.99, recurrent dropout 93.80, dropouts of 0.6 93.80, 93.89, spelling of 64 93.93, 94.11 (with ends 94.00).
    TagConfig(cell="lstm", layers=2, hidden=200, embedding=100, embedding_dropout=0.5, dropout=0.5),
    TrainConfig(epochs=10, batch_size=16, learning_rate=4e-3, schedule="one_cycle", clip=1.0),
    SplitConfig(),
)


def tag_preset(**changes: Any) -> Preset:
    """Raises TenorError: an option of texts, which sentences have no use for; as `changed`."""
    for name, option in (("tokens", "--tokens"), ("max_tokens", "--max-tokens")):
        if changes.get(name) is not None:
            raise TenorError(f"--task tag has no {option}: each word of a sentence gets its tag. Leave it out.")
    return changed(TAG, changes)
