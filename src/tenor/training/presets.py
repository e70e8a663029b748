"""Complete settings by name; every number with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tenor.config import ModelConfig, SplitConfig, TextConfig, TrainConfig, build
from tenor.errors import TenorError, nearest


@dataclass(frozen=True)
class Preset:
    text: TextConfig
    model: ModelConfig
    train: TrainConfig
    split: SplitConfig


# The network of the tutorials, as Keras builds and trains it: texts padded in front and cut to their last 200 tokens
# (pad_sequences' defaults), Embedding, Bidirectional(LSTM), Dense with a sigmoid, Adam at Keras' defaults, batches of 32,
# no dropout, ranges of rows. The tutorials differ in sizes; 64 and 64 on 10,000 words are the usual ones.
ARTICLE = Preset(
    TextConfig(tokens="word", vocab=10_000, max_tokens=200, keep="tail", pad_to_max=True),
    ModelConfig(cell="lstm", layers=1, hidden=64, embedding=64, bidirectional=True, pooling="last", init="keras"),
    TrainConfig(epochs=4, batch_size=32, learning_rate=1e-3, schedule="constant", adam_epsilon=1e-7),
    SplitConfig(how="range"),
)

BASE = Preset(
    TextConfig(tokens="word", vocab=30_000, max_tokens=400, keep="ends"),
    ModelConfig(cell="lstm", layers=1, hidden=96, embedding=64, pooling="max_mean", word_dropout=0.15, embedding_dropout=0.4, dropout=0.4),
    TrainConfig(epochs=4, batch_size=64, learning_rate=5e-3, schedule="one_cycle", clip=1.0),
    SplitConfig(how="random"),
)

# Below so many rows 4 epochs are too few steps to learn anything.
SMALL = 10_000


def _small(rows: int) -> dict[str, Any]:
    """More epochs and smaller batches for few rows."""
    return {"epochs": max(5, min(20, 40_000 // max(1, rows))), "batch_size": 16 if rows < 2000 else 32}


PRESETS = {"base": BASE, "article": ARTICLE}


def preset(name: str, rows: int | None = None, **changes: Any) -> Preset:
    """A preset with some settings changed; None leaves a setting as it is.

    Args:
        name: "base" or "article".
        rows: number of rows to train on, to which base fits its epochs and batches; None: as for many.
        changes: settings of TextConfig, ModelConfig, TrainConfig or SplitConfig by name.

    Raises:
        TenorError: no such preset or setting, or a value that is not allowed.
    """
    if name not in PRESETS:
        raise TenorError(f"No preset {name!r}{nearest(name, PRESETS)} There are: {', '.join(PRESETS)}.")
    start = PRESETS[name]
    if name == "base" and rows is not None and rows < SMALL:
        start = replace(start, train=replace(start.train, **_small(rows)))
    changes = {k: v for k, v in changes.items() if v is not None}
    known = {f.name: part.name for part in fields(Preset) for f in fields(getattr(start, part.name))}
    parts: dict[str, dict[str, Any]] = {part.name: asdict(getattr(start, part.name)) for part in fields(Preset)}
    for key, value in changes.items():
        if key not in known:
            raise TenorError(f"Unknown setting {key!r}{nearest(key, known)} Known: {', '.join(sorted(known))}.")
        parts[known[key]][key] = value
    return replace(
        start,
        text=build(TextConfig, parts["text"]),
        model=build(ModelConfig, parts["model"]),
        train=build(TrainConfig, parts["train"]),
        split=build(SplitConfig, parts["split"]),
    )
