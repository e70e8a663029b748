"""Settings: one frozen dataclass a concern, saved with the model. The numbers' reasons are in training/presets.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from tenor.errors import TenorError, nearest

Cell = Literal["lstm", "gru", "rnn"]
Precision = Literal["auto", "float32", "bfloat16"]
ReadingPrecision = Literal["auto", "float32", "bfloat16", "int8"]
Device = Literal["auto", "cpu", "cuda"]
SplitKind = Literal["range", "random", "official"]
Tokens = Literal["word", "bpe", "char"]


@dataclass(frozen=True)
class TextConfig:
    """From a text to token ids."""

    tokens: Tokens = "word"
    vocab: int = 30_000  # entries, <pad> and <unk> included
    max_tokens: int = 400  # longer texts are cut, and it is said how many
    keep: Literal["head", "tail", "ends"] = "ends"  # what stays of a text that is cut
    pairs: int = 0  # neighbouring words that tell the labels apart are read as tokens too, at most so many of them
    pad_to_max: bool = False  # True: short texts get <pad> in front, which the network reads (the tutorials' way)


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    cell: Cell = "lstm"
    layers: int = 1
    hidden: int = 64  # units a direction
    embedding: int = 64
    bidirectional: bool = True
    pooling: Literal["last", "max_mean"] = "max_mean"
    init: Literal["torch", "keras"] = "torch"  # whose initial weights
    word_dropout: float = 0.0  # chance that a whole word is zeroed while training (the others are scaled up)
    embedding_dropout: float = 0.0
    dropout: float = 0.0  # between layers and before the dense output
    weight_dropout: float = 0.0  # on the recurrent weights, drawn once a batch; of models that generate
    tied: bool = False  # tokens are foretold with the vectors that they are read with; of models that generate



@dataclass(frozen=True)
class TranslateConfig:
    """The network of models that translate."""

    cell: Cell = "lstm"
    layers: int = 1  # of the encoder, and of the decoder behind the one that looks
    hidden: int = 512  # units of the decoder's layers; each direction of the encoder has a half of them
    embedding: int = 256
    shared: bool = True  # one table of pieces for both sides
    attention: Literal["dot", "additive"] = "dot"
    feeding: bool = False  # what was said goes into the decoder's first layer, step by step
    embedding_dropout: float = 0.0  # the same features in all tokens of a text
    dropout: float = 0.0  # on what goes from part to part
    piece_dropout: float = 0.0  # chance that a merge of pieces is passed over, each time, so that words are spelled in many ways


@dataclass(frozen=True)
class TrainConfig:
    """How the weights are found."""

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3  # the peak, where the schedule has one
    schedule: Literal["constant", "one_cycle"] = "one_cycle"
    adam_epsilon: float = 1e-8
    vectors: bool = False  # start the embedding from word vectors of the training texts (training/vectors.py)
    embedding_rate: float = 1.0  # the embedding's learning rate as a share of the recurrent layers'
    output_rate: float = 1.0  # the dense output's, likewise
    lazy_embedding: bool = True  # Adam moves the words of the batch only (torch.optim.SparseAdam's rule), not all by their momentum
    weight_decay: float = 0.0
    label_smoothing: float = 0.0  # share of each answer that is spread over all labels (Szegedy et al. 2016, arXiv 1512.00567v3)
    adversarial: float = 0.0  # each text is learnt a second time, its vectors moved by this share of their length against the network (models/adversarial.py)
    clip: float = 0.0  # greatest global norm of the gradient; 0: none
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"


@dataclass(frozen=True)
class SplitConfig:
    """Which rows train, which choose (validation), which test."""

    how: SplitKind = "random"
    train_rows: int | None = None
    test_rows: int | None = None
    validation: float | None = None  # below 1: share of the training rows; from 1: rows; None: by their number


T = TypeVar("T")


def build(kind: type[T], values: dict[str, Any]) -> T:
    """Make a settings dataclass from a dict, refusing unknown keys and values outside the allowed ones."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise TenorError(f"Unknown setting {key!r} for {kind.__name__}{nearest(key, known)} Known: {', '.join(sorted(known))}.")
    hints = get_type_hints(kind)
    for key, value in values.items():
        allowed = get_args(hints[key])
        if allowed and all(isinstance(a, str) for a in allowed) and value not in allowed:
            raise TenorError(f"{key} is one of {', '.join(allowed)}; got {value!r}{nearest(str(value), allowed)}")
        if hints[key] in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise TenorError(f"{key} is a number; got {value!r}.")
        if hints[key] is int and value != int(value):
            raise TenorError(f"{key} is a whole number; got {value!r}.")
    return kind(**values)


# The least that each number may be, and for shares (dropouts) also the most.
_AT_LEAST = {"vocab": 3, "pairs": 0, "max_tokens": 1, "layers": 1, "hidden": 1, "embedding": 1, "epochs": 1, "batch_size": 1, "seed": 0, "clip": 0, "weight_decay": 0,
             "embedding_rate": 0, "output_rate": 0, "train_rows": 1, "test_rows": 0, "validation": 0}  # fmt: skip
_SHARES = ("word_dropout", "embedding_dropout", "dropout", "weight_dropout", "piece_dropout", "label_smoothing", "adversarial")
_ABOVE_0 = ("learning_rate", "adam_epsilon")
_LARGEST_SEED = 2**32 - 2  # scikit-learn's and NumPy's, less the one that validation rows add


def check(*configs: object) -> None:
    """Raise a TenorError that lists every number outside its range."""
    wrong = []
    for config in configs:
        for f in fields(config):  # type: ignore[arg-type]
            value = getattr(config, f.name)
            if value is None:
                continue
            if f.name in _AT_LEAST and not _AT_LEAST[f.name] <= value < float("inf"):
                wrong.append(f"{f.name} must be at least {_AT_LEAST[f.name]}; got {value}")
            if f.name == "seed" and value > _LARGEST_SEED:
                wrong.append(f"seed must be at most {_LARGEST_SEED}; got {value}")
            if f.name in _SHARES and not 0 <= value < 1:
                wrong.append(f"{f.name} must be at least 0 and below 1; got {value}")
            if f.name in _ABOVE_0 and not 0 < value < float("inf"):
                wrong.append(f"{f.name} must be above 0; got {value}")
            if f.name == "validation" and value > 1 and value != int(value):
                wrong.append(f"validation is a share below 1 or a whole number of rows; got {value}")
            if f.name == "vocab" and getattr(config, "tokens", "") == "bpe" and value < 258:
                wrong.append(f"vocab must be at least 258 for bpe (256 bytes, <pad> and <unk>); got {value}")
    if wrong:
        raise TenorError("; ".join(wrong) + ".")
