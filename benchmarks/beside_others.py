"""A training beside programs that never pause, with threads that soon sleep and with GNU OpenMP's own: TENOR_DATA=... python benchmarks/beside_others.py.

Tokens a second of the one epoch, by GOMP_SPINCOUNT and number of other programs; takes 5 minutes of an idle machine. Written to benchmarks/results/beside_others.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reviews import RESULTS, machine

SPINS = {"commands": "1000", "library": "300000"}  # what the commands set; what GNU's library does by itself
TRAININGS = {"quick, 32 units": ("quick", 32), "base, 64 units": ("base", 64)}
ROUNDS = 2


@contextmanager
def others(count: int) -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in busy:
            program.kill()
            program.wait()


def tokens_per_second(preset: str, hidden: int, spin: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "m"
        options = ["--preset", preset, "--hidden", hidden, "--epochs", 1, "--no-baseline", "--split", "range", "--train-rows", 6000, "--test-rows", 500, "--validation", 500]
        command = [Path(sys.executable).with_name("tenor"), "train", "imdb", *options, "--out", out, "--json"]
        subprocess.run([str(c) for c in command], env=os.environ | {"GOMP_SPINCOUNT": spin}, stdout=subprocess.DEVNULL, check=True)
        return int(json.loads((out / "history.jsonl").read_text().splitlines()[0])["tokens_per_second"])


def main() -> None:
    found: dict[str, dict[str, dict[str, list[int]]]] = {name: {} for name in TRAININGS}
    for number in range(3):
        for name, (preset, hidden) in TRAININGS.items():
            by_spin: dict[str, list[int]] = {who: [] for who in SPINS}
            for _ in range(ROUNDS):
                for who, spin in SPINS.items():
                    with others(number):
                        by_spin[who].append(tokens_per_second(preset, hidden, spin))
            found[name][str(number)] = by_spin
            print(name, number, by_spin, flush=True)
    (RESULTS / "beside_others.json").write_text(json.dumps({"made_with": "python benchmarks/beside_others.py", "machine": machine(), "spins": SPINS, "tokens_per_second_by_others": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
