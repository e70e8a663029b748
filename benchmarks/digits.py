"""The numbers of docs/results.md for speech: spoken digits alone, connected, and of a speaker never heard; kinds of cell; speed.

    TENOR_DATA=... python benchmarks/digits.py                everything, about an hour of an idle core
    TENOR_DATA=... python benchmarks/digits.py heard speed    some of: heard, together (three networks that answer together), unheard, cells, speed

Each part writes benchmarks/results/digits_PART.json with commands, machine, versions and commit. Test takes are read by the last command of
each training, `tenor evaluate`, and by the one test of `tenor train`. Connected digits are test takes of one speaker, joined to strings of 3 to 8 with
silences of up to 0.3 s and levels of 6 dB more or less, by a fixed seed; each take stands in 4 of them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reviews import RESULTS, machine, run
from tenor.config import SoundConfig
from tenor.data.joined import join
from tenor.data.joined import strings as cut
from tenor.data.recordings import Recording, read_recordings, whole

DIGITS = Path(os.environ.get("TENOR_DATA", ".")) / "digits.parquet"
SEED, PASSES = 1, 4
UNHEARD_EPOCHS, CELL_EPOCHS = 36, 20  # fewer than the preset's: what they compare shows sooner
NETWORKS, TOGETHER_EPOCHS = 3, 120  # more than the preset's 60: docs/results.md
KEPT = ("rows", "right", "accuracy", "accuracy_low", "accuracy_high", "words", "word_errors", "word_error_rate", "character_error_rate")


def strings(rows: Sequence[Recording], rate: int, path: Path) -> Path:
    """A table of connected digits."""
    rng, found = np.random.default_rng(SEED), []
    for _ in range(PASSES):
        for string in cut(rows, rng, 8, 0.0, 3):
            if len(string) >= 3:  # what is left of a speaker may be one or two
                joined = join([rows[i] for i in string], rng, SoundConfig(), rate)
                found.append({"text": joined.text, "speaker": rows[string[0]].speaker, "rate": rate, "split": "test", "pcm": whole(joined.samples).tobytes()})
    pq.write_table(pa.Table.from_pylist(found), path)
    return path


def left_out(speaker: str, folder: Path) -> Path:
    """The table with a part of its own: of one speaker takes 0 to 4 and 10 to 49 test (5 to 9 chose the preset; settings that were tried and left out were judged on 5 to 49 of the speakers left out), of the others 10 to 49 train and 5 to 9 choose the epoch."""
    rows = []
    for row in pq.read_table(DIGITS).to_pylist():
        take = row["take"]
        part = ("unused" if 5 <= take < 10 else "test") if row["speaker"] == speaker else "unused" if take < 5 else "validation" if take < 10 else "train"
        if part != "unused":
            rows.append(row | {"split": part})
    path = folder / f"without_{speaker}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def trained(source: Path, model: Path, *options: object) -> dict[str, Any]:
    done = run("train", source, "--task", "transcribe", "--out", model, *options)
    answer = done.pop("answer")
    epochs = [e["seconds"] for e in answer["history"]]
    return done | {
        "test": {k: answer["test"][k] for k in KEPT}, "validation": {k: answer["validation"][k] for k in KEPT}, "best_epoch": answer["best_epoch"],
        "seconds_an_epoch": statistics.median(epochs), "train_seconds": answer["seconds"]["train"], "kernel": answer["kernel"], "weights": run("info", model)["answer"]["weights"],
    }  # fmt: skip


def connected(model: Path, folder: Path) -> dict[str, Any]:
    found = read_recordings(DIGITS)
    path = strings([r for r in found.rows if r.part == "test"], found.rate, folder / "strings.parquet")
    done = run("evaluate", path, "-m", model)
    return {"command": done["command"], **{k: done["answer"][k] for k in KEPT}}


def heard(folder: Path) -> dict[str, Any]:
    return {"training": trained(DIGITS, folder / "digits"), "connected": connected(folder / "digits", folder)}


def together(folder: Path) -> dict[str, Any]:
    return {"training": trained(DIGITS, folder / "digits", "--networks", NETWORKS, "--epochs", TOGETHER_EPOCHS), "connected": connected(folder / "digits", folder)}


def unheard(folder: Path) -> dict[str, Any]:
    """Five trainings, each without one speaker."""
    found = {}
    for speaker in sorted({r.speaker for r in read_recordings(DIGITS).rows}):
        found[speaker] = trained(left_out(speaker, folder), folder / speaker, "--epochs", UNHEARD_EPOCHS)
        print(speaker, found[speaker]["test"]["accuracy"], flush=True)
    return {"mean_accuracy": statistics.mean(f["test"]["accuracy"] for f in found.values()), "speakers": found}


def cells(folder: Path) -> dict[str, Any]:
    found = {}
    for cell in ("lstm", "gru", "rnn"):
        training = trained(DIGITS, folder / cell, "--cell", cell, "--epochs", CELL_EPOCHS)
        found[cell] = training | {"connected": connected(folder / cell, folder)}
    return found


def speed(folder: Path) -> dict[str, Any]:
    """Seconds an epoch on the engine and on torch's layers, in turns; the first epoch of each run is left out."""
    found: dict[str, Any] = {}
    for cell in ("lstm", "gru", "rnn"):
        seconds: dict[str, list[float]] = {"auto": [], "torch": []}
        for turn in range(2):
            for kernel, times in seconds.items():
                os.environ["TENOR_KERNEL"] = kernel
                history = run("train", DIGITS, "--task", "transcribe", "--cell", cell, "--epochs", 3, "--out", folder / f"{cell}_{kernel}_{turn}")["answer"]["history"]
                times += [e["seconds"] for e in history[1:]]
        medians = {kernel: statistics.median(times) for kernel, times in seconds.items()}
        found[cell] = {"seconds": seconds, "ratio": round(medians["torch"] / medians["auto"], 2)}
        print(cell, found[cell]["ratio"], flush=True)
    del os.environ["TENOR_KERNEL"]
    return found


PARTS = {"heard": heard, "together": together, "unheard": unheard, "cells": cells, "speed": speed}


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    if set(wanted) - set(PARTS):
        raise SystemExit(__doc__)
    for part in wanted:
        with tempfile.TemporaryDirectory() as folder:
            result = PARTS[part](Path(folder))
        text = json.dumps({"made_with": f"python benchmarks/digits.py {part}", "machine": machine(), **result}, indent=2)
        (RESULTS / f"digits_{part}.json").write_text(text + "\n")
        print(part, json.dumps(result))


if __name__ == "__main__":
    main()
