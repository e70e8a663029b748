"""Weights of a model folder, held against the network that its settings describe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tenor.errors import TenorError


class _Undrawn(TorchFunctionMode):
    """Normal numbers are not drawn: for those without memory torch loads its compiler, which takes 2 seconds."""

    def __torch_function__(self, called: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        return named["tensor"] if called is nn.init.normal_ else called(*args, **named)  # torch hands it on by its name


def fitting(build: Callable[[], nn.Module], weights: Mapping[str, np.ndarray], without: Collection[str] = ()) -> dict[str, Tensor]:
    """The weights as tensors, if they are those of `build`'s network.

    Args:
        build: makes the network. It is made of shapes without memory: a wrong size is refused before it is allocated.
        weights: by their names in its state dict.
        without: what stands in that state dict and is no weight.

    Raises:
        TenorError: a weight is missing, of another shape, or one too many.
    """
    with torch.device("meta"), _Undrawn():
        network = build()
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items() if k not in without}
    found = {k: v.shape for k, v in weights.items()}
    if expected != found:
        odd = min(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        raise TenorError(f"The weights do not fit the settings at {odd}: {found.get(odd)} where {expected.get(odd)} belongs. Copy the model folder again.")
    return {k: torch.from_numpy(v) for k, v in weights.items()}
