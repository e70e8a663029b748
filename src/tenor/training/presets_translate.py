"""The settings of models that translate; every number with its reason."""

from __future__ import annotations

from typing import Any

from tenor.config import SplitConfig, TextConfig, TrainConfig, TranslateConfig
from tenor.training.presets import Preset, changed

TRANSLATE = Preset(
    TextConfig(tokens="bpe", vocab=6000, max_tokens=100, keep="head"),
    # Dot attention: additive took 1.8 to 2.4 times as long a step, input feeding 2.2 times (384 units, batches of 128, one run).
    # Dropouts of a short run of 384 units, which still learnt less by heart than it missed: after 9 epochs 0.542 of the training tokens, dropped and spelled anew, and 0.634 of the validation's.
    TranslateConfig(cell="lstm", layers=1, hidden=512, embedding=256, embedding_dropout=0.2, dropout=0.3, piece_dropout=0.1),
    # 18 epochs gave 39.0 BLEU on test2016, 27 minutes of one core (docs/results.md); epoch 17 was kept. Neither they nor the rate were tuned.
    TrainConfig(epochs=18, batch_size=128, learning_rate=3e-3, schedule="one_cycle", label_smoothing=0.1, clip=1.0, lazy_embedding=False),
    SplitConfig(how="random"),
)


def translate_preset(**changes: Any) -> Preset:
    return changed(TRANSLATE, changes)
