"""How many characters a second a model writes on one core, by the clock of the process: OMP_NUM_THREADS=1 python benchmarks/writing.py MODEL.

Speed does not depend on what was learnt, only on sizes: a model of `tenor train FILE --task generate --epochs 1` will do. Written to benchmarks/results/writing.json.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reviews import RESULTS, machine
from tenor import store
from tenor.cells import native
from tenor.config import ReadingPrecision
from tenor.models.generate import Sampling, continued
from tenor.pipelines.generation import Generation

TOKENS, TURNS, WARM = 112, 40, 500  # tokens a turn and text; a model of characters writes one a token
PRECISIONS: tuple[ReadingPrecision, ...] = ("int8", "bfloat16", "float32")


def measured(stored: store.Stored, precision: ReadingPrecision, texts: int) -> dict[str, Any]:
    made = Generation.rebuilt(stored, "cpu", precision)
    written = continued(made.network, np.asarray(made.pieces.encode("ROMEO:")), Sampling(seed=1), texts)
    for _ in range(WARM):
        next(written)
    rates = []
    for _ in range(TURNS):
        began = time.process_time()
        for _ in range(TOKENS):
            next(written)
        rates.append(TOKENS * texts / (time.process_time() - began))
    found = {"precision": precision, "texts": texts, "per_second": round(statistics.median(rates)), "best": round(max(rates))}
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    assert torch.get_num_threads() == 1, "OMP_NUM_THREADS=1"
    stored = store.read(Path(sys.argv[1]))
    rows = [measured(stored, precision, texts) for precision in PRECISIONS for texts in (1, 4, 16)]
    model = {k: stored.config["model"][k] for k in ("cell", "layers", "hidden", "embedding")}
    (RESULTS / "writing.json").write_text(json.dumps({"made_with": "python benchmarks/writing.py MODEL", "machine": machine() | {"isa": native.isa()}, "model": model, "tokens_per_second": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
