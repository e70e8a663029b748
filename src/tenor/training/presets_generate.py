"""The settings of models that generate; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import ModelConfig, SplitConfig, TextConfig, TrainConfig
from tenor.training.presets import Preset, changed

# From short runs on shakespeare.txt (its last tenth for validation, nats a character there); 28 epochs gave 1.422, at epoch 20 (docs/results.md): more would be learnt by heart.
GENERATE = Preset(
    TextConfig(tokens="char", vocab=1000, max_tokens=128),
    # 512 units 1.575 after 3 epochs, 256 units 1.670 after 4. Dropout of a half is the usual one for this size; it was not tuned.
    ModelConfig(cell="lstm", layers=2, hidden=512, embedding=128, bidirectional=False, dropout=0.5),
    # A rate of 2e-3: 1.692 after 3 epochs of 512 units, 4e-3: 1.575; 256 units, 4 epochs: 1.802 and 1.670. Segments of 64 at 2e-3, twice the steps: 1.676.
    TrainConfig(epochs=28, batch_size=32, learning_rate=4e-3, schedule="one_cycle", clip=1.0, lazy_embedding=False),
    SplitConfig(how="range", validation=0.1),
)


def generate_preset(**changes: Any) -> Preset:
    return changed(GENERATE, changes)
