"""Complete settings by name; every number with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tenor.config import ModelConfig, SplitConfig, Start, TextConfig, TrainConfig, build
from tenor.errors import TenorError, nearest, plural


@dataclass(frozen=True)
class Preset:
    text: Any  # TextConfig, or how another task reads its rows
    model: Any  # ModelConfig, or the settings of another task's network
    train: TrainConfig
    split: SplitConfig
    language: Preset | None = None  # the network is trained twice (training/first.py); where few rows have a label, first a large one from a language model of these settings


# The network of the tutorials, as Keras builds and trains it: texts padded in front and cut to their last 200 tokens
# (pad_sequences' defaults), Embedding, Bidirectional(LSTM), Dense with a sigmoid, Adam at Keras' defaults, batches of 32,
# no dropout, ranges of rows. The tutorials differ in sizes; 64 and 64 on 10,000 words are the usual ones.
ARTICLE = Preset(
    TextConfig(tokens="word", vocab=10_000, max_tokens=200, keep="tail", pad_to_max=True),
    ModelConfig(cell="lstm", layers=1, hidden=64, embedding=64, bidirectional=True, pooling="last", init="keras"),
    TrainConfig(epochs=4, batch_size=32, learning_rate=1e-3, schedule="constant", adam_epsilon=1e-7, lazy_embedding=False),
    SplitConfig(how="range"),
)

# Tuned on film reviews: 33,258 training and 6,000 validation rows, 4 epochs; an accuracy there is known to 0.0035 (one
# standard error), so that steps below 0.005 count only where the validation loss agrees. The linear baseline has 0.9213.
BASE = Preset(
    # 512 tokens cut a tenth of the film reviews; 300, with larger batches, lost 0.007. Verdicts stand at both ends of a review, so both are kept.
    TextConfig(tokens="word", vocab=30_000, max_tokens=512, keep="ends"),
    # 64 units: 128 took about 1.5 times as long and were no clear gain after an epoch (0.896 against 0.894).
    # Maximum and mean of all steps, since the last state alone forgets the beginning. The dropouts of 0.4 are drawn once a text, not once a word: 0.9148 against 0.9023 after
    # 2 epochs (word dropout differed too). More of them (0.1, 0.4, 0.4 -> 0.15, 0.5, 0.5) gave 0.9173, these 0.9243.
    ModelConfig(cell="lstm", layers=1, hidden=64, embedding=128, pooling="max_mean", word_dropout=0.1, embedding_dropout=0.4, dropout=0.4),
    # Starting from word vectors of the training texts, and moving them at a quarter of the rate: without them the network
    # learns rare words by heart (0.9108, validation loss 0.276); moved at the full rate 0.9118 (0.257), at a tenth and with
    # vectors of 64 0.9185 (0.210), at a quarter with vectors of 128 0.9243 (0.210). A rate of 0.002 learnt too little in 4 epochs.
    # All words move by their momentum: with those of the batch alone, at the full rate, 0.9220 after 2 epochs fell to 0.9167.
    # Pairs of words, as in quick, gave 0.9268 (0.223) with dropouts of 0.5: no clear gain over as many epochs.
    TrainConfig(epochs=4, batch_size=32, learning_rate=4e-3, schedule="one_cycle", clip=1.0, vectors=True, embedding_rate=0.25, lazy_embedding=False),
    SplitConfig(how="random"),
)

# A result in seconds. Tuned on the same rows as base; accuracies are means of 3 seeds.
QUICK = Preset(
    # 20,000 telling pairs of words: one epoch with them is worth three without. 60,000 gave no more. 400 tokens lost 0.004 (0.9216
    # against 0.9254) and saved a tenth of the training.
    TextConfig(tokens="word", vocab=30_000, max_tokens=600, keep="ends", pairs=20_000),
    # Where pairs are read, few units are enough, and the GRU learns more in an epoch than the LSTM: 32 units 0.9242 against 0.9217 (at the rate of 4e-3),
    # 16 units 0.9234 against 0.9201; 32 units of the RNN 0.9093. 16 units of the GRU take 0.6 of the time of 32 of the LSTM. Vectors of 32
    # lost 0.004 with 16 units. The dropouts are weaker than base's, since one epoch hardly learns by heart.
    ModelConfig(cell="gru", layers=1, hidden=16, embedding=64, pooling="max_mean", word_dropout=0.05, embedding_dropout=0.2, dropout=0.2),
    # Rates for these 16 units: 4e-3 0.9234, 8e-3 0.9254, 12e-3 0.9244. Batches of 64 lost 0.002 and saved a sixth.
    TrainConfig(epochs=1, batch_size=32, learning_rate=8e-3, schedule="one_cycle", clip=1.0, vectors=True),
    SplitConfig(how="random"),
)

# Below so many rows 4 epochs are too few steps to learn anything.
SMALL = 10_000


def _small(rows: int) -> dict[str, Any]:
    """More epochs, smaller batches and a free embedding for few rows.

    By cross-validation on 1,375 rows of the sample: 10 epochs 0.800, with the embedding at a quarter of the rate 0.787 (their
    word vectors know little); more epochs change nothing. The linear baseline has 0.842 there.
    """
    return {"epochs": max(5, min(10, 40_000 // max(1, rows))), "batch_size": 16 if rows < 2000 else 32, "embedding_rate": 1.0}


# The language model of `tenor pretrain`.
PRETRAIN = Preset(
    TextConfig(tokens="word", vocab=30_000, max_tokens=512, keep="ends"),
    ModelConfig(cell="lstm", layers=1, hidden=256, embedding=128, embedding_dropout=0.1, dropout=0.1),
    TrainConfig(epochs=2, batch_size=32, learning_rate=3e-3, schedule="one_cycle", clip=1.0, vectors=True),
    SplitConfig(how="random"),
)


# The best there is for its size: four small networks that answer together. Two learn from the labelled rows; they and a linear model label the other texts, and the other two learn from all
# (training/first.py). Measured step by step in docs/experiments.md.
BEST = Preset(
    QUICK.text,
    # 32 units: one network has 0.9393 under two teachers; 64 on vectors of 128 with 40,000 pairs 0.9343, more dropout (0.4) 0.9382. Four on vectors of 32 take the bytes of two on vectors of 64.
    replace(QUICK.model, hidden=32, embedding=32, networks=4),
    # 2 epochs: in 4 the labelled rows are learnt by heart (0.9342).
    replace(QUICK.train, epochs=2, label_smoothing=0.1),
    QUICK.split,
    # 512 units on vectors of 256, as the teacher of docs/experiments.md; 256 units gave no better teacher than none.
    Preset(
        PRETRAIN.text,
        replace(PRETRAIN.model, hidden=512, embedding=256),
        replace(PRETRAIN.train, epochs=2, learning_rate=2e-3),
        PRETRAIN.split,
    ),
)


# A classifier from a pretrained model: what `base` and `quick` (with one epoch) are then. Tuned on the rows of base, from a language model of 512 units a direction.
FINE_TUNE = Preset(
    TextConfig(max_tokens=400, keep="ends"),
    ModelConfig(pooling="max_mean", word_dropout=0.05, embedding_dropout=0.3, dropout=0.4),
    # What was learnt before is moved with care, what is new fast: one rate of 0.002 for all gave 0.9217, these three 0.9337 (docs/experiments.md). That is the rate of
    # 512 units; fewer take more, in proportion (Yang et al. 2021, arXiv 2203.03466v2), up to base's: 32 units, on the sample, 0.88 at 4e-3, 0.78 at 6e-4 (100 validation rows).
    TrainConfig(epochs=2, batch_size=64, learning_rate=6e-4, clip=1.0, embedding_rate=0.5, output_rate=3.3, weight_decay=0.01, lazy_embedding=False),
    SplitConfig(how="random"),
)

# What changes where such a classifier also learns from texts that nobody labelled by an adversary (more epochs stay more). 4 root mean squares of a number are 2.3 % of the length of a median review's 200 vectors of 128, as far for a shorter text, and so of 26 tokens 7 % (Miyato et al. 2017 move each
# text by 5, of vectors of 256); on short texts it was not tried apart. The loss still fell in the fourth epoch. Answers are not smoothed: the adversary keeps them from being too sure.
OPPOSED: dict[str, Any] = {"epochs": 4, "adversary": 4.0, "label_smoothing": 0.0}

# Of the vectors' rate where a trained classifier starts on few rows, which are mostly of another kind than its own: words must be learnt anew. Five-fold cross-validation on 1,375 rows of the sample: from reviews-en (GRU 32) 0.790 at half
# of the rate, 0.825, 0.848 and 0.845 at 2, 4 and 8 times; from a classifier of LSTM 192 0.831 at half, 0.846 at 4 times. Other sizes and rows of the same kind were not tried. A language model of film reviews and 450 of them: 0.856 at half, 0.836 at 4 times.
OTHER_WORDS = 4.0

# What a training that starts from a model takes from it, and nobody else can choose.
GIVEN = ("cell", "layers", "hidden", "embedding", "bidirectional", "vocab", "tokens")


def _fine_tuning(name: str, rows: int | None, given: Start) -> Preset:
    """The start's tokens (pairs of words too) and sizes, and settings that keep what it knows; article keeps its own settings."""
    text, model, classifier = given
    start = ARTICLE if name == "article" else FINE_TUNE
    sizes = {key: getattr(model, key) for key in ("cell", "layers", "hidden", "embedding", "bidirectional", "networks")}
    start = replace(start, text=replace(start.text, tokens=text.tokens, vocab=text.vocab, pairs=text.pairs), model=replace(start.model, **sizes))
    if name == "article":
        return start
    start = replace(start, train=replace(start.train, learning_rate=min(BASE.train.learning_rate, start.train.learning_rate * 512 / model.hidden)))
    if name == "quick":
        start = replace(start, train=replace(start.train, epochs=1))
    if rows is not None and rows < SMALL:
        start = replace(start, train=replace(start.train, epochs=max(2, min(8, 20_000 // max(1, rows))), batch_size=16 if rows < 2000 else 32))
        if classifier:
            start = replace(start, train=replace(start.train, embedding_rate=OTHER_WORDS))
    return start


PRESETS = {"base": BASE, "quick": QUICK, "best": BEST, "article": ARTICLE}


def preset(name: str, rows: int | None = None, start: Start | None = None, **changes: Any) -> Preset:
    """A preset with some settings changed; None leaves a setting as it is.

    Args:
        name: a key of PRESETS.
        rows: number of rows to train on (of best, those without a label too), to which all but article fit their epochs and batches; None: as for many.
        start: settings of the model that the training starts from, which then has its tokens and sizes; of best, only the tokens.
        changes: settings of TextConfig, ModelConfig, TrainConfig or SplitConfig by name.

    Raises:
        TenorError: no such preset or setting, or a value that is not allowed.
    """
    if name not in PRESETS:
        raise TenorError(f"No preset {name!r}{nearest(name, PRESETS)} There are: {', '.join(PRESETS)}.")
    if start and start.classifier and name == "best":
        raise TenorError("--preset best starts from a language model (tenor pretrain), and this is a classifier. Give it with --teacher instead, or train from it with another preset.")
    if start and name != "best":
        if start.classifier and changes.get("networks") is not None:
            raise TenorError(f"What the training starts from is a classifier of {plural(start.model.networks, 'network')}, and so is what it makes: networks cannot be chosen. Leave it out, or start from a language model.")
        return changed(_fine_tuning(name, rows, start), changes)
    found = PRESETS[name]
    if start:  # the small networks begin anew, on its tokens: what starts from it stands beside them (training/first.py)
        found = replace(found, text=replace(found.text, tokens=start.text.tokens, vocab=start.text.vocab))
    if name != "article" and rows is not None and rows < SMALL:
        found = replace(found, train=replace(found.train, **_small(rows)))
    found = changed(found, changes)
    if name == "best" and found.model.networks < 2:
        raise TenorError(f"--preset best trains networks that answer together, so networks must be at least 2; got {found.model.networks}. For one network: train one, and a second with --teacher.")
    return found


def changed(start: Preset, changes: dict[str, Any]) -> Preset:
    """Some settings changed; None leaves one as it is. Raises TenorError: no such setting, or a value that is not allowed."""
    changes = {k: v for k, v in changes.items() if v is not None}
    parts: dict[str, dict[str, Any]] = {name: asdict(getattr(start, name)) for name in ("text", "model", "train", "split")}
    known = {key: name for name, values in parts.items() for key in values}
    for key, value in changes.items():
        if key not in known:
            raise TenorError(f"Unknown setting {key!r}{nearest(key, known)} Known: {', '.join(sorted(known))}.")
        parts[known[key]][key] = value
    return replace(start, **{part: build(type(getattr(start, part)), values) for part, values in parts.items()})
