"""How long a tagger trains, with Tenor's kernels and with torch's: python benchmarks/tagging.py [SOURCE]; needs TENOR_DATA for conll2000.parquet.

The same batches by turns in one process, after a check that both give the same loss. The clock counts the process's own seconds, which
other programs hardly change; with OMP_NUM_THREADS=1 these are seconds on one core. Written to benchmarks/results/tagging.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

import torch

from tenor.cells import native
from tenor.config import Cell
from tenor.data.lexicon import Lexicon
from tenor.data.tagged import read_sentences
from tenor.pipelines.tagging import Tagging
from tenor.training.presets_tag import tag_preset
from tenor.training.tag import TagExamples, not_in_iob2
from turns import by_turns

BATCHES, ROUNDS = 20, 5  # batches of all lengths, each by each kernel so many times
RESULT = Path(__file__).parent / "results" / "tagging.json"


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.environ["TENOR_DATA"]) / "conll2000.parquet"
    found = {
        "what": "process seconds an epoch of training (forward, backward, Adam), words and spelling read by the cell",
        "isa": native.isa(), "torch": torch.__version__, "threads": torch.get_num_threads(),
        "cells": {cell: measured(source, cell) for cell in get_args(Cell)},
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def measured(source: Path, cell: str) -> dict[str, Any]:
    preset = tag_preset(cell=cell, beside="pos")
    rows = [s for s in read_sentences(source, None, "chunk", ["pos"]).rows if s.part == "train"]
    lexicon = Lexicon.of(rows, sorted({t for s in rows for t in s.tags}), ["pos"], preset.text.vocab, not not_in_iob2(rows))
    examples = TagExamples(lexicon.encode(rows), lexicon.encode(rows[:1]), preset.train)
    network = Tagging(lexicon, preset.model).network
    plan = examples.plan(0)
    batches = [(examples.batch(p)[0],) for p in plan[:BATCHES]]
    result = by_turns(network, preset.train, batches, len(plan), ROUNDS, 2) | {"words": int(examples.data.forms.lengths.sum())}
    print(cell, json.dumps(result), flush=True)
    return result


if __name__ == "__main__":
    main()
