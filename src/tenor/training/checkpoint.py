"""The state of a training run in one safetensors file, written beside and renamed: enough to go on bit for bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tenor.errors import TenorError
from tenor.training.events import State
from tenor.training.optimiser import RowAdamW


def save_checkpoint(path: Path, state: State, settings: dict[str, Any], model: torch.nn.Module, optimiser: RowAdamW, best: dict[str, Tensor]) -> None:
    """`settings` is compared when the run goes on: it must name all that decides the result."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    for number, moments in optimiser.state_dict().items():
        tensors |= {f"optimiser.{number}.{k}": v for k, v in moments.items()}
    # exp_avg of a bias and so on: safetensors wants plain contiguous tensors on the CPU
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(path, save(tensors, {"state": json.dumps(asdict(state)), "settings": json.dumps(settings, sort_keys=True)}))


def load_checkpoint(path: Path, settings: dict[str, Any], model: torch.nn.Module, optimiser: RowAdamW) -> tuple[State, dict[str, Tensor]]:
    """Restore model and optimiser in place; returns the state and the best weights so far.

    Raises:
        TenorError: the file is broken, or the settings differ from those of the run that wrote it.
    """
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise TenorError(f"The checkpoint {path} cannot be read ({error}). Start anew with --overwrite.") from error
    earlier = as_known_later(settings) | json.loads(metadata["settings"])
    different = sorted(k for k in earlier.keys() | settings.keys() if earlier.get(k) != settings.get(k))
    if different:
        listed = ", ".join(f"{k} {earlier.get(k)!r} -> {settings.get(k)!r}" for k in different[:6])
        raise TenorError(f"--resume goes on with the settings and data it began with; changed: {listed}. Give the first command again, or start anew with --overwrite.")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(moments)
    return State(**json.loads(metadata["state"])), {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}


def as_known_later(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of these settings those that older records do not name, with what they mean there."""
    return {name: meant for name, meant in {"networks": 1, "adversary": 0.0}.items() if name in settings}


def write_atomically(path: Path, data: bytes) -> None:
    """A reader sees the old file or the new one, never a part; both survive a crash of the machine."""
    beside = path.with_name(path.name + ".new")
    try:
        with open(beside, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def surroundings(data: str, kernel: str) -> dict[str, Any]:
    """What decides the bits of a result beside its settings: the data (a fingerprint), the kernel that runs, and what is under it."""
    return {"data": data, "kernel": kernel, "torch": torch.__version__, "threads": torch.get_num_threads()}
