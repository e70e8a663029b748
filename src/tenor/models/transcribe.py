"""Many-to-many, no alignment given: frames of speech to what is said. Network, loss, decoding, main metric."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenor.cells.dropout import dropout
from tenor.config import TranscribeConfig
from tenor.data.recordings import BLANK
from tenor.models.encoder import CELLS
from tenor.models.ensemble import Ensemble
from tenor.models.scores import Scores

# The network -----------------------------------------------------------------------------------------------------------


class SpeechNetwork(nn.Module):
    """Recurrent stack, softmax over all symbols and the blank, at each step.

    Args:
        features: numbers a step.
        symbols: the blank, which is 0, included.
        config: the network's sizes and dropouts.
        dtype: of the recurrent layers' products.
    """

    reads = 2  # steps and lengths

    def __init__(self, features: int, symbols: int, config: TranscribeConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        between = config.dropout if config.layers > 1 else 0.0
        self.recurrent = CELLS[config.cell](
            features, config.hidden, config.layers, dropout=between, bidirectional=config.bidirectional, compute=dtype, variational_dropout=config.input_dropout
        )
        self.dropout = config.dropout
        self.output = nn.Linear(config.hidden * (2 if config.bidirectional else 1), symbols)

    @property
    def path(self) -> str:
        return self.recurrent.path

    def freeze(self) -> None:
        if self.training:
            self.eval()

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """steps [T, B, F], lengths [B] -> logarithms of probabilities [T, B, V]; what stands after a row's end has no meaning."""
        out, _ = self.recurrent(steps.to(self.output.weight.device), lengths=lengths)  # [T, B, D*H]
        return F.log_softmax(self.output(dropout(out, self.dropout, self.training)).float(), -1)

    # The loss ----------------------------------------------------------------------------------------------------------

    def scores(self, steps: Tensor, lengths: Tensor, targets: Tensor, sizes: Tensor) -> Scores:
        """A SoundBatch -> CTC's loss (Graves et al. 2006): -ln of the sum over all ways to say the targets in so many steps, a symbol, mean over the rows.

        A row is right if the best way says its targets. `tokens` of the result are steps.
        """
        return self.graded(self(steps, lengths), steps, lengths, targets, sizes)

    def graded(self, logs: Tensor, steps: Tensor, lengths: Tensor, targets: Tensor, sizes: Tensor) -> Scores:  # noqa: ARG002
        """logs: as forward's. The others: as of scores."""
        loss = F.ctc_loss(logs, targets.to(logs.device), lengths, sizes, blank=BLANK)
        ends = sizes.cumsum(0).tolist()
        wanted = [targets[end - size : end].tolist() for end, size in zip(ends, sizes.tolist(), strict=True)]
        right = sum(a == b for a, b in zip(greedy(logs.detach(), lengths), wanted, strict=True))
        return Scores(loss, right, len(lengths), int(lengths.sum()))


class SpeechNetworks(Ensemble[SpeechNetwork]):
    """Several that answer together: the probability of what is said is the mean of what they give it.

    Not the mean at each step: they say the same word at other steps. On connected digits of validation takes two networks had 34 and
    32 words wrong, with the mean of each step's probabilities 33, of their logarithms 295, with that of what is said 28 (of 992).
    """

    def together(self, said: list[Tensor]) -> Tensor:
        """-> [N, T, B, V]"""
        return torch.stack(said)

    def graded(self, logs: Tensor, steps: Tensor, lengths: Tensor, targets: Tensor, sizes: Tensor) -> Scores:  # noqa: ARG002
        """As SpeechNetwork.graded, of logs [N, T, B, V]; what is right is told of each one's best way."""
        losses = torch.stack([F.ctc_loss(own, targets.to(own.device), lengths, sizes, blank=BLANK, reduction="none") for own in logs])  # [N, B]
        loss = (math.log(len(logs)) - (-losses).logsumexp(0)) / sizes.to(losses.device).clamp(min=1)
        each, wanted = logs.detach().cpu().numpy(), torch.split(targets, sizes.tolist())
        right = sum(most_probable(list(each[:, :length, row]), 1).symbols == wanted[row].tolist() for row, length in enumerate(lengths.tolist()))
        return Scores(loss.mean(), right, len(lengths), int(lengths.sum()))


def speech_network(features: int, symbols: int, config: TranscribeConfig, dtype: torch.dtype = torch.float32) -> SpeechNetwork | SpeechNetworks:
    """As SpeechNetwork, or `config.networks` of them."""
    return SpeechNetworks.of([SpeechNetwork(features, symbols, config, dtype) for _ in range(config.networks)])


# Decoding --------------------------------------------------------------------------------------------------------------


def greedy(logs: Tensor, lengths: Tensor) -> list[list[int]]:
    """[T, B, V], [B] -> the symbols of each row's most probable way: repeats are one, blanks are none."""
    best = logs.argmax(2).cpu().numpy()  # [T, B]
    new = np.concatenate((np.ones((1, best.shape[1]), bool), best[1:] != best[:-1])) & (best != BLANK)
    return [best[:length, row][new[:length, row]].tolist() for row, length in enumerate(lengths.tolist())]


class Hypothesis(NamedTuple):
    """symbols, and the logarithm of their probability: the sum over all ways to say them that the beam kept."""

    symbols: list[int]
    log: float


NEVER = -math.inf
_JUDGED_AT_ONCE = 16_000_000  # numbers that torch's CTC keeps while it judges: 64 MB. One text that alone has more (of minutes, in characters) is judged alone.


def most_probable(readings: Sequence[np.ndarray], width: int, least: float = 1e-4) -> Hypothesis:
    """What is most probably said, by the mean of the probabilities that the readings give a text.

    Args:
        readings: [T, V] each, of several networks, or of several views of a sound, whose T may differ; each proposes what its own search finds. Those with the greatest sum over the proposals, a `width` of them but at least as many as there are readings, are judged by all.
        width, least: as of beam_search; 1: each proposes its best way alone, and of one reading the probability is that way's.
    """
    proposed = [beam_search(own, width, least) if width > 1 else [_best_way(own)] for own in readings]
    if len(readings) == 1:
        return proposed[0][0]
    mentions: dict[tuple[int, ...], float] = {}
    for h in itertools.chain(*proposed):
        mentions[tuple(h.symbols)] = _sum(mentions.get(tuple(h.symbols), NEVER), h.log)
    candidates = [list(c) for c in sorted(mentions, key=lambda c: -mentions[c])[: max(width, len(readings))]]
    judged = np.logaddexp.reduce([all_ways(own, candidates) for own in readings]) - math.log(len(readings))
    best = int(judged.argmax())
    return Hypothesis(candidates[best], float(judged[best]))


def _best_way(logs: np.ndarray) -> Hypothesis:
    (symbols,) = greedy(torch.from_numpy(logs)[:, None], torch.tensor([len(logs)]))
    return Hypothesis(symbols, float(logs.max(1).sum()))


def all_ways(logs: np.ndarray, said: Sequence[Sequence[int]]) -> np.ndarray:
    """[T, V] -> of each of these the logarithm of its probability, all ways to say it together (Graves et al. 2006); NEVER where there are too few steps."""
    longest = max(map(len, said))
    at_once = max(1, _JUDGED_AT_ONCE // (len(logs) * (2 * longest + 1)))
    found = []
    for start in range(0, len(said), at_once):
        some = said[start : start + at_once]
        sizes = torch.tensor([len(symbols) for symbols in some])
        targets = torch.tensor([s for symbols in some for s in symbols], dtype=torch.long)
        each = torch.from_numpy(logs)[:, None].expand(-1, len(some), -1)
        found.append(-F.ctc_loss(each, targets, torch.full((len(some),), len(logs)), sizes, blank=BLANK, reduction="none").numpy())
    return np.concatenate(found)


def beam_search(logs: np.ndarray, width: int, least: float = 1e-4) -> list[Hypothesis]:
    """What is probably said, best first: prefixes are carried along, all ways that say the same are summed (Graves 2012; Hannun et al. 2014, arXiv 1408.2873v2).

    Args:
        logs: [T, V] logarithms of probabilities.
        width: prefixes kept after each step.
        least: symbols below this probability do not lengthen a prefix at that step; 0: all do.
    """
    # A prefix is a number: its symbol, and the prefix before it. So adding a symbol costs the same however long it is.
    symbol, before = [BLANK], [-1]
    longer: dict[tuple[int, int], int] = {}
    beam = {0: (0.0, NEVER)}  # prefix: logarithms of the probability of all ways that end in a blank, and in its symbol
    floor = math.log(least) if least > 0 else NEVER
    for step in logs.tolist():
        candidates = [s for s in range(1, len(step)) if step[s] > floor]
        ends: dict[int, tuple[float, float]] = {}
        for prefix, (blank, spoken) in beam.items():
            both, last = _sum(blank, spoken), symbol[prefix]
            own = ends.get(prefix, (NEVER, NEVER))
            ends[prefix] = (_sum(own[0], both + step[BLANK]), _sum(own[1], spoken + step[last]) if prefix else NEVER)
            for s in candidates:
                reached = blank if s == last else both  # the same symbol again needs a blank between
                if reached == NEVER:
                    continue
                if (prefix, s) not in longer:
                    longer[prefix, s] = len(symbol)
                    symbol.append(s)
                    before.append(prefix)
                key = longer[prefix, s]
                own = ends.get(key, (NEVER, NEVER))
                ends[key] = (own[0], _sum(own[1], reached + step[s]))
        beam = dict(sorted(ends.items(), key=lambda e: -_sum(*e[1]))[:width])
    found = []
    for prefix, (blank, spoken) in beam.items():
        total, symbols = _sum(blank, spoken), []
        while prefix:
            symbols.append(symbol[prefix])
            prefix = before[prefix]
        found.append(Hypothesis(symbols[::-1], total))
    return found


def _sum(a: float, b: float) -> float:
    """ln(e^a + e^b)"""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))


# The main metric -------------------------------------------------------------------------------------------------------


def distance(said: Sequence[object], written: Sequence[object]) -> int:
    """Levenshtein's: how many words (or characters) must at least be replaced, left out or added to make one of the other."""
    numbers: dict[object, int] = {}
    a, b = (np.array([numbers.setdefault(x, len(numbers)) for x in row], np.int64) for row in (said, written))
    places = np.arange(len(b) + 1)
    row = places  # from nothing to the first n of `written`
    for n, x in enumerate(a, 1):
        best = np.concatenate(([n], np.minimum(row[1:] + 1, row[:-1] + (b != x))))
        row = np.minimum.accumulate(best - places) + places  # and, along the row, one more that is added
    return int(row[-1])
