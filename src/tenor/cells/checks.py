"""What callers of the layers get wrong: each error says the rule, what came, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from tenor.cells.kernels import short
from tenor.errors import TenorError, plural

_FORMATS = (torch.float32, torch.bfloat16, torch.float64, torch.float16)  # float16 on a GPU only


class Settings(Protocol):
    """The settings of a layer."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    bidirectional: bool
    proj_size: int
    compute: torch.dtype | None


def check_settings(layer: Settings) -> None:
    """Raises TenorError that names every setting outside its range."""
    wrong = []
    for name in ("input_size", "hidden_size", "num_layers"):
        value = getattr(layer, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            wrong.append(f"{name} must be a whole number from 1, not {value!r}")
    for name in ("bias", "batch_first", "bidirectional"):
        if not isinstance(getattr(layer, name), bool):
            wrong.append(f"{name} must be True or False, not {getattr(layer, name)!r}")
    for name in ("dropout", "variational_dropout", "recurrent_dropout", "weight_dropout"):
        value = getattr(layer, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            wrong.append(f"{name} must be a share from 0 to less than 1, not {value!r}")
    if not isinstance(layer.proj_size, int) or not 0 <= layer.proj_size < max(1, layer.hidden_size if isinstance(layer.hidden_size, int) else 1):
        wrong.append(f"proj_size must be 0 or a whole number less than hidden_size, not {layer.proj_size!r}")
    if layer.compute is not None and layer.compute not in _FORMATS:
        wrong.append(f"compute must be None, torch.float32, torch.bfloat16 or torch.float64 (on a GPU also torch.float16), not {layer.compute!r}")
    if wrong:
        raise TenorError("; ".join(wrong) + ".")


def check_lengths(lengths: Tensor | Sequence[int], batch: int, steps: int) -> Tensor:
    """[B] int64 on the CPU. Raises TenorError unless there are B whole numbers from 0 to T."""
    rule = f"lengths must be {plural(batch, 'whole number')} from 0 to {steps}, one for each row"
    try:
        found = torch.as_tensor(lengths, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TenorError(f"{rule}, not {lengths!r}. Give a list of int or an int64 tensor.") from error
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):  # an empty list becomes float32
        raise TenorError(f"{rule}, not {short(found.dtype)}. Convert them with .long().")
    found = found.long()  # T itself may be too much for 8 bits
    if found.shape != (batch,):
        raise TenorError(f"{rule}; these have shape {list(found.shape)}. Give [{batch}]" + (", or set batch_first the other way." if found.dim() == 1 else "."))
    wrong = ((found < 0) | (found > steps)).nonzero().flatten()
    if len(wrong):
        row = int(wrong[0])
        raise TenorError(f"{rule}; row {row} has {int(found[row])}. Cut the lengths or pad the input further.")
    return found


def check_input(x: Tensor, ranks: tuple[int, ...], name: str, size: int) -> None:
    """Raises TenorError unless x has one of these ranks, `size` features and floating-point numbers."""
    if x.dim() not in ranks:
        forms = "[tokens, features]" if ranks == (2,) else "[steps, rows, features], with batch_first [rows, steps, features], or for one row [steps, features]"
        raise TenorError(f"The shape of {name} must be {forms}; it is {list(x.shape)}. Reshape it.")
    if x.shape[-1] != size:
        raise TenorError(f"The last dimension of {name} must be input_size, {size}; its shape is {list(x.shape)}. Give {size} features, or build the layer with input_size={x.shape[-1]}.")
    if not x.is_floating_point():
        raise TenorError(f"The numbers of {name} must be floating point, not {short(x.dtype)}. Convert them with .float(), or embed token ids first.")


def check_hx(hx: object, two: bool) -> tuple[Tensor, ...]:
    """The first states as a tuple. Raises TenorError unless they are (h0, c0) if there are two, else h0."""
    given = tuple(hx) if isinstance(hx, tuple | list) and two else (hx,)
    if len(given) == 1 + two and all(isinstance(s, Tensor) for s in given):
        return given
    came = f"{type(hx).__name__} of {len(hx)}" if isinstance(hx, tuple | list) else type(hx).__name__
    raise TenorError("hx must be the tuple (h0, c0) of two tensors" * two + "hx must be one tensor, h0" * (not two) + f", or None for zeros; it is a {came}.")


def check_state(name: str, state: Tensor, wanted: list[int]) -> None:
    """Raises TenorError unless the state has that shape."""
    if list(state.shape) != wanted:
        form = "[layers * directions, rows, features]" if len(wanted) == 3 else "[layers * directions, features] as the input is one row"
        raise TenorError(f"{name} must have the shape {wanted}, {form}; it is {list(state.shape)}.")


def check_like(name: str, x: Tensor, dtype: torch.dtype, device: torch.device, cast: bool) -> None:
    """Raises TenorError unless x has that dtype (any floating one if `cast`: autocast is on) and is on that device."""
    if x.device != device:
        raise TenorError(f"{name} is on {x.device}, where {device} is needed: input, states and weights go together. Move it with .to('{device}').")
    if x.dtype != dtype and not (cast and x.is_floating_point()):
        raise TenorError(
            f"{name} is {short(x.dtype)}, where {short(dtype)} is needed: the input has the weights' dtype, and the states have the input's. "
            f"Convert it with .to(torch.{short(dtype)})."
        )
