"""A network trained on the same batches with Tenor's kernels and with torch's, by turns in one process."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tenor.config import TrainConfig
from tenor.training.optimiser import clip, make_optimiser


def by_turns(network: Any, config: TrainConfig, batches: Sequence[tuple[Any, ...]], in_epoch: int, rounds: int, digits: int) -> dict[str, Any]:
    """Process seconds of training (forward, backward, the optimiser), reckoned for an epoch of `in_epoch` batches; after a check that both kernels give the same loss.

    Args:
        batches: arguments of the network's `scores`. rounds: how often each kernel has all of them, after one round that warms up. digits: of the seconds.
    """
    optimiser = make_optimiser(network, config)

    def steps() -> None:
        for batch in batches:
            loss = network.scores(*batch).loss
            optimiser.zero_grad()
            loss.backward()
            clip(network, config.clip)
            optimiser.step()

    seconds: dict[str, list[float]] = {"native": [], "torch": []}
    with torch.no_grad():
        network.eval()
        losses = [float(_with_kernel(kernel, lambda: network.scores(*batches[0]).loss)) for kernel in seconds]
        assert abs(losses[0] - losses[1]) < 0.02 * losses[0], losses  # bfloat16: sums in another order
    network.train()
    for number in range(rounds + 1):
        for kernel, times in seconds.items():
            began = time.process_time()
            _with_kernel(kernel, steps)
            times += [time.process_time() - began] if number else []
    epoch = {kernel: round(statistics.median(times) * in_epoch / len(batches), digits) for kernel, times in seconds.items()}
    weights = sum(p.numel() for p in network.parameters())
    return {"weights": weights, "seconds_an_epoch": epoch, "torch_to_native": round(epoch["torch"] / epoch["native"], 2)}


def _with_kernel(kernel: str, do: Callable[[], Any]) -> Any:
    os.environ["TENOR_KERNEL"] = kernel
    try:
        return do()
    finally:
        del os.environ["TENOR_KERNEL"]
