"""Settings: one frozen dataclass a concern, saved with the model. The numbers' reasons are in training/presets.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_type_hints

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
    networks: int = 1  # that learn side by side and answer with their mean (models/ensemble.py); of classifiers
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
class SoundConfig:
    """From sounds and what is said in them to steps and symbols; and how a training joins and changes recordings, anew each time it hears them."""

    tokens: Literal["auto", "word", "char"] = "auto"  # what is written down; auto: words where they are few and occur often, else characters
    bands: int = 40  # of the mel scale
    cepstra: int = 14  # terms of the bands' cosine transform that are kept: the vocal tract's shape, without the voice's pitch; as many as bands, or more: all
    stack: int = 3  # frames of 10 ms that are one step
    join: int = 8  # recordings of a string at most, and about 8 seconds; 1: none are joined
    singles: float = 0.5  # share of the strings that are one recording
    alone: float = 0.25  # share of the epochs, the first ones, in which none are joined: words are learnt sooner alone
    silence: float = 0.3  # seconds between recordings, and around them, at most
    level: float = 6.0  # decibels that a recording is louder or softer, at most
    speed: float = 0.1  # share that the tempo is slower or faster, at most; the pitch moves along
    warp: float = 0.1  # share that frequencies are lower or higher, at most: another length of the vocal tract
    noisy: float = 0.3  # share of the strings that get noise
    loudest_noise: float = 15.0  # decibels below the speech
    quietest_noise: float = 40.0
    band_holes: int = 2
    band_hole: int = 6  # bands, at most
    time_holes: int = 1  # a second
    time_hole: int = 5  # frames of 10 ms, at most


@dataclass(frozen=True)
class TranscribeConfig:
    """The network that writes down what is said."""

    cell: Cell = "lstm"
    layers: int = 2
    hidden: int = 128  # units a direction
    networks: int = 1  # that learn side by side and answer with their mean
    bidirectional: bool = True
    dropout: float = 0.0  # between layers and before the dense output
    input_dropout: float = 0.0  # on what each layer reads, drawn once a sound


@dataclass(frozen=True)
class TagConfig:
    """The network of a tagger."""

    cell: Cell = "lstm"
    layers: int = 1
    hidden: int = 128  # units a direction
    networks: int = 1  # that learn side by side and answer with their mean
    embedding: int = 100  # size of a word's vector
    bidirectional: bool = True
    spelling: Literal["recurrent", "convolution", "none"] = "recurrent"  # how the characters of a word are read
    character_embedding: int = 32  # size of a character's vector
    character_hidden: int = 32  # units a direction, or filters, over the characters of a word
    beside: str = ""  # columns that are read beside the words, with commas between
    beside_embedding: int = 32  # size of the vectors of what stands in columns beside the words
    once_dropout: float = 0.5  # chance that a word that occurred once is read as unknown while training
    embedding_dropout: float = 0.0  # on all that is read of a word, the same features of a whole sentence
    dropout: float = 0.0  # before the tags' scores, the same features of a whole sentence
    recurrent_dropout: float = 0.0  # on the states, the same units of a whole sentence

    @property
    def columns(self) -> list[str]:
        return [c.strip() for c in self.beside.split(",") if c.strip()]


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
    adversary: float = 0.0  # how far the vectors of each text are moved against its answer while training, in root mean squares of one of their numbers (models/adversary.py); of classifiers
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


class Start(NamedTuple):
    """Settings of the model that a training starts from."""

    text: TextConfig
    model: ModelConfig
    classifier: bool = False  # and no language model


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
_AT_LEAST = {"vocab": 3, "pairs": 0, "max_tokens": 1, "layers": 1, "networks": 1, "hidden": 1, "embedding": 1, "character_embedding": 1, "character_hidden": 1, "beside_embedding": 1, "epochs": 1, "batch_size": 1, "seed": 0, "clip": 0, "adversary": 0, "weight_decay": 0,
             "embedding_rate": 0, "output_rate": 0, "train_rows": 1, "test_rows": 0, "validation": 0,
             "bands": 1, "cepstra": 1, "stack": 1, "join": 1, "silence": 0, "level": 0, "quietest_noise": 0, "loudest_noise": 0, "band_holes": 0, "band_hole": 0, "time_holes": 0, "time_hole": 0}  # fmt: skip
_SHARES = ("word_dropout", "embedding_dropout", "dropout", "weight_dropout", "piece_dropout", "label_smoothing",
           "input_dropout", "speed", "warp", "singles", "alone", "noisy", "once_dropout", "recurrent_dropout")  # fmt: skip
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
