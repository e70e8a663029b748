"""Many-to-many without one right answer: a prompt to a reply. The network and its loss are the translator's; decoding by drawing, main metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, unpack_sequence

from tenor.cells.stepper import Stepper
from tenor.data.pieces import BREAK
from tenor.data.text import PAD, UNK
from tenor.models.generate import Sampling, draw
from tenor.models.translate import TextTranslator

# Decoding --------------------------------------------------------------------------------------------------------------

# Three tokens that were said in a row are not said again in the same reply: that ends the loops of a network that follows its own words (Paulus et al. 2017, arXiv 1705.04304v3).
ONCE = 3


@torch.inference_mode()
def replied(model: TextTranslator, source: PackedSequence, sampling: Sampling) -> Iterator[np.ndarray]:
    """Packed ids of B prompts -> [B] tokens a step, for ever: one reply each, side by side; a BREAK ends one. <pad> and <unk> are never drawn.

    Each is drawn by the seed and its own prompt, so that the other prompts change nothing.
    """
    model.freeze()
    prompts = unpack_sequence(PackedSequence(source.data.cpu(), source.batch_sizes))
    chances = [np.random.default_rng([sampling.seed, *ids.tolist()]) for ids in prompts]
    memory, thought = model.encode(source)
    reader, writer = Stepper(model.reader), Stepper(model.writer)
    rows = len(memory.values)
    tokens = np.full(rows, BREAK)
    written: list[list[int]] = [[] for _ in range(rows)]
    while True:
        said, _, thought = model.step(torch.from_numpy(tokens).to(memory.values.device), thought, memory, reader, writer)
        logits = model.logits(said).cpu().numpy().copy()
        logits[:, [PAD, UNK]] = -np.inf
        for row, before in enumerate(written):
            logits[row, list(_said_after(before))] = -np.inf
        tokens = draw(logits, sampling, np.array([rng.random() for rng in chances]))
        for before, token in zip(written, tokens.tolist(), strict=True):
            before.append(token)
        yield tokens


def _said_after(before: Sequence[int]) -> set[int]:
    """Tokens that followed the last two wherever these stand in what was said."""
    last = tuple(before[1 - ONCE :])
    if len(last) < ONCE - 1:
        return set()
    found = {before[i + ONCE - 1] for i in range(len(before) - ONCE + 1) if tuple(before[i : i + ONCE - 1]) == last}
    return found - {BREAK}


# The main metric -------------------------------------------------------------------------------------------------------


def distinct(texts: Sequence[str]) -> tuple[float, float]:
    """Of all words, and of all pairs of neighbouring words, the share that are different ones (distinct-1 and distinct-2; Li et al. 2016, arXiv 1510.03055v3)."""
    words, couples = Counter[str](), Counter[tuple[str, str]]()
    for text in texts:
        parts = text.split()
        words.update(parts)
        couples.update(pairwise(parts))
    return len(words) / max(1, words.total()), len(couples) / max(1, couples.total())
