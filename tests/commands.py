"""Commands in processes of their own that need not import torch and the others again: 4 of the 7 seconds of a command on a slow machine.

They are forked from a server that has imported them and done nothing else; Tenor itself is imported by each.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MAIN = "from tenor.cli import main; main()"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torch.optim.adamw", "scipy.optimize", "scipy.sparse.linalg", "sklearn.svm", "sklearn.feature_extraction.text", "sklearn.model_selection", "pyarrow.parquet", "pyarrow.csv", "tokenizers", "safetensors.numpy", "safetensors.torch", "typer", "rich.progress"])  # fmt: skip


def run(arguments: Sequence[object], folder: Path, stdin: str = "", environment: Mapping[str, str] | None = None, program: str = MAIN, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """As subprocess.run of `python -c PROGRAM ARGUMENTS`, in a folder, with text captured. What is read when torch is loaded (OMP_NUM_THREADS) must not be in `environment`."""
    words = ["-c", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / name for name in ("in", "out", "err")]
        files[0].write_text(stdin, encoding="utf-8")
        process = _CONTEXT.Process(target=_do, args=(program, words, str(folder), dict(environment or os.environ), [str(f) for f in files]))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, seconds)
        out, err = (f.read_text(encoding="utf-8") for f in files[1:])
    return subprocess.CompletedProcess(words, process.exitcode, out, err)


def _do(program: str, words: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, (name, mode) in enumerate(zip(files, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)):
        opened = os.open(name, mode)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.argv = words
    exec(program, {"__name__": "__main__"})  # what it raises, multiprocessing prints
