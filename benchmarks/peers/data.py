"""Token ids of real reviews for the peers, which know nothing of Tenor.

    TENOR_DATA=... python benchmarks/peers/data.py FOLDER

writes FOLDER/article.npz (tokens [rows, 200] int32, <pad> in front, and labels [rows] float32; training rows, the article's
vocabulary of 10,000) and FOLDER/reviews.npz (ids [all tokens] int32, lengths [rows] int64, labels [rows] float32; rows
that are not in training, at most 400 tokens, a vocabulary of 30,000). Run by Tenor's own interpreter.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tenor.config import TextConfig
from tenor.data.datasets import resolve
from tenor.data.sources import read_rows
from tenor.data.text import PAD, UNK, Ragged, cut
from tenor.training.presets import ARTICLE, BASE
from tenor.training.texts import Tokenised

TRAIN_ROWS = 39_258  # of the article's split; its test rows follow


def labelled() -> tuple[list[str], np.ndarray]:
    """Cleaned texts, and [rows] float32: 1 for a positive review."""
    rows = read_rows(resolve("imdb")).rows
    return [r.text for r in rows], np.array([r.label == "pos" for r in rows], np.float32)


def padded(ids: Ragged, length: int) -> np.ndarray:
    """[rows, length] int32: the last tokens of each row, <pad> in front (Keras' pad_sequences)."""
    ids = cut(ids, length, "tail")
    matrix = np.full((len(ids), length), PAD, np.int32)
    matrix[np.arange(length) >= length - ids.lengths[:, None]] = ids.values
    return matrix


def write_article(path: Path, texts: list[str], labels: np.ndarray, rows: int = 2048) -> None:
    """The first rows as the article's network reads them; the vocabulary is the training rows'.

    Args:
        path: the .npz to write.
        texts, labels: of `labelled`.
        rows: how many; 32 a step.
    """
    tokens = padded(Tokenised.of(texts[:TRAIN_ROWS], ARTICLE.text).ids, ARTICLE.text.max_tokens)
    np.savez(path, tokens=tokens[:rows], labels=labels[:rows])


def write_reviews(path: Path, texts: list[str], labels: np.ndarray, config: TextConfig, rows: int = 2000) -> None:
    """Rows after the training rows as ragged ids, in the order of the file; the vocabulary is the training rows'.

    Args:
        path: the .npz to write.
        texts, labels: of `labelled`.
        config: vocabulary and cut.
        rows: how many.
    """
    tokenizer = Tokenised.of(texts[:TRAIN_ROWS], config).tokenizer
    write_ids(path, cut(tokenizer.encode(texts[TRAIN_ROWS:][:rows]), config.max_tokens, config.keep), labels[TRAIN_ROWS:][:rows])


def write_ids(path: Path, ids: Ragged, labels: np.ndarray) -> None:
    """Rows already cut; an empty one is read as one <unk>, as Tenor does."""
    lengths = np.maximum(ids.lengths, 1)
    values = np.full(int(lengths.sum()), UNK, np.int32)
    values[np.repeat(ids.lengths > 0, lengths)] = ids.values
    np.savez(path, ids=values, lengths=lengths, labels=labels)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    texts, labels = labelled()
    write_article(folder / "article.npz", texts, labels)
    write_reviews(folder / "reviews.npz", texts, labels, TextConfig(vocab=BASE.text.vocab, max_tokens=400, keep=BASE.text.keep))


if __name__ == "__main__":
    main()
