"""How long models that write, translate and chat train, a row a cell, with Tenor's kernels and with torch's: python benchmarks/applications.py [--batches N].

Needs TENOR_DATA for shakespeare.txt and multi30k.parquet. As in tagging.py: the same batches by turns in one process, after a check that both
kernels give the same loss, by the clock of the process. Written to benchmarks/results/applications.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch

from tenor.cells import native
from tenor.config import Cell
from tenor.data.aligned import divided, read_pairs
from tenor.data.pieces import Pieces
from tenor.data.plain import read_plain_or_texts
from tenor.data.turns import read_turns
from tenor.pipelines.conversation import Conversation
from tenor.pipelines.generation import Generation
from tenor.pipelines.translation import Translation
from tenor.training.generate import StreamExamples
from tenor.training.presets import Preset
from tenor.training.presets_chat import chat_preset
from tenor.training.presets_generate import generate_preset
from tenor.training.presets_translate import translate_preset
from tenor.training.translate import examples_of
from turns import by_turns

ROUNDS = 2
RESULT = Path(__file__).parent / "results" / "applications.json"
Made = tuple[Any, Any, Preset]  # network, its Examples, settings


def writing(data: Path, cell: str) -> Made:
    preset = generate_preset(cell=cell)
    text = read_plain_or_texts(data / "shakespeare.txt", None, False).texts[0]
    learnt, aside = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    pieces = Pieces.train([learnt], preset.text)
    examples = StreamExamples(pieces.encode(learnt), pieces.encode(aside), preset)
    return Generation(pieces, preset.text, preset.model, "line", streams=examples.streams.batch).network, examples, preset


def translating(data: Path, cell: str) -> Made:
    preset = translate_preset(cell=cell)
    pairs = [p for p in read_pairs(data / "multi30k.parquet", "de", "en", False).pairs if p.part == "train"]
    examples, _ = examples_of(pairs, [], preset)
    return Translation(examples.source.pieces, examples.target.pieces, preset.text, preset.model, smoothing=preset.train.label_smoothing).network, examples, preset


def chatting(data: Path, cell: str) -> Made:
    preset = chat_preset(cell=cell)
    train, _, _ = divided(read_turns(data / "shakespeare.txt", None, None, False).pairs, preset.split.validation, preset.train.seed)
    examples, _ = examples_of(train, [], preset)
    return Conversation(examples.source.pieces, examples.target.pieces, preset.text, preset.model).network, examples, preset


TASKS: dict[str, Callable[[Path, str], Made]] = {"generate": writing, "translate": translating, "chat": chatting}


def measured(made: Made, count: int) -> dict[str, Any]:
    network, examples, preset = made
    plan = examples.plan(0)
    step = max(1, len(plan) // count)  # batches of all lengths
    batches = [examples.batch(p) for p in plan[::step][:count]]
    return by_turns(network, preset.train, batches, len(plan), ROUNDS, 1) | {"batches": f"{len(batches)} of {len(plan)}"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=10, help="of an epoch's, by each kernel three times; the epoch is reckoned from these")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args()
    data = Path(os.environ["TENOR_DATA"])
    found: dict[str, Any] = {"what": "process seconds an epoch of training (forward, backward, Adam)", "isa": native.isa(), "torch": torch.__version__, "threads": torch.get_num_threads(), "tasks": {}}
    for task in options.tasks:
        rows = found["tasks"][task] = {}
        for cell in get_args(Cell):
            rows[cell] = measured(TASKS[task](data, cell), options.batches)
            print(task, cell, json.dumps(rows[cell]), flush=True)
            RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
