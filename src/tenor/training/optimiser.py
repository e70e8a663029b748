"""AdamW that leaves alone what a batch did not touch, and clipping, for gradients of which some are sparse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from tenor.config import TrainConfig


class RowAdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101v3); of a sparse gradient only its rows are updated, moments included.

    That is torch.optim.SparseAdam's rule, with AdamW's decay: a word that is not in the batch does not go on moving by its old
    momentum. `lazy=False` gives such gradients AdamW's own rule.

    It has what the loop needs of a torch.optim.Optimizer and is none: making one imports torch's compiler, 1.2 seconds at the
    start of every training.

    Args:
        groups: dicts of `params`, and of what is of this group alone: `lr`, or anything that the caller keeps there.
        lazy, lr, betas, eps, weight_decay: as above.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lazy: bool, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        self.param_groups = [{"lr": lr, **group, "params": list(group["params"])} for group in groups]
        self.lazy, self.betas, self.eps, self.weight_decay = lazy, betas, eps, weight_decay
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Sparse gradients must be coalesced. They are gone afterwards."""
        for group in self.param_groups:
            dense = []
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.state:
                    self.state[p] = {"step": torch.zeros((), device=p.device), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                if p.grad.is_sparse and self.lazy:
                    self._update_rows(p, group["lr"])
                    p.grad = None
                    continue
                if p.grad.is_sparse:
                    p.grad = p.grad.to_dense()
                dense.append(p)
            self._update(dense, group["lr"])

    def _update(self, params: list[Tensor], rate: float) -> None:
        gradients = [p.grad for p in params if p.grad is not None]
        m, v, steps = ([self.state[p][name] for p in params] for name in ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = self.betas
        adamw(params, gradients, m, v, [], steps, fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=rate, weight_decay=self.weight_decay, eps=self.eps, maximize=False)
        torch.autograd.graph.increment_version(params)  # torch 2.13's fused rule does not tell that it wrote

    def _update_rows(self, p: Tensor, rate: float) -> None:
        state, (beta1, beta2), gradient = self.state[p], self.betas, p.grad
        assert gradient is not None
        state["step"] += 1
        step = float(state["step"])
        rows, g = gradient._indices()[0], gradient._values()
        m = state["exp_avg"].index_select(0, rows).lerp_(g, 1 - beta1)
        v = state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(g, g, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, m)
        state["exp_avg_sq"].index_copy_(0, rows, v)
        if self.weight_decay:
            p.index_copy_(0, rows, p.index_select(0, rows).mul_(1 - rate * self.weight_decay))
        scale = torch.tensor(rate / (1 - beta1**step), dtype=torch.float64)  # a tensor: as a number, a rate beyond float32 would be an error here
        p.index_add_(0, rows, m.div_(v.div_(1 - beta2**step).sqrt_().add_(self.eps)).mul_(scale), alpha=-1)

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        """Of each parameter that has moved, by its place among all: step, exp_avg, exp_avg_sq."""
        return {i: dict(self.state[p]) for i, p in enumerate(self.params) if p in self.state}

    def load_state_dict(self, state: dict[int, dict[str, Tensor]]) -> None:
        params = self.params
        self.state = {params[i]: {name: t.to(params[i].device) for name, t in moments.items()} for i, moments in state.items()}


def make_optimiser(model: nn.Module, config: TrainConfig) -> RowAdamW:
    """`share` of a group is its part of the learning rate. (AdamW without decay is Adam.)"""
    shares = {"embedding": config.embedding_rate, "output": config.output_rate}
    groups: dict[str, list[Tensor]] = {"": [], "embedding": [], "output": []}
    for name, p in model.named_parameters():
        groups["embedding" if "embedding" in name else "output" if "output" in name.split(".") else ""].append(p)
    return RowAdamW(
        ({"params": params, "share": shares.get(part, 1.0)} for part, params in groups.items() if params),
        lazy=config.lazy_embedding,
        lr=config.learning_rate,
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
    )


def clip(model: nn.Module, most: float) -> None:
    """Scale all gradients together so that their global norm is at most `most`; 0: leave them. Sparse ones come out coalesced.

    Networks that learn side by side are scaled each by itself; the gradients of the mean of their losses are then as small a part of those that each would have alone.
    """
    parts = getattr(model, "members", [model])
    for part in parts:
        _clip(part, most / len(parts))


def _clip(model: nn.Module, most: float) -> None:
    numbers = []
    for p in model.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()
        if p.grad is not None:
            numbers.append(p.grad._values() if p.grad.is_sparse else p.grad)
    if most and numbers:
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(numbers)))  # as torch.nn.utils.clip_grad_norm_, which takes no sparse ones
        torch._foreach_mul_(numbers, torch.clamp(most / (total + 1e-6), max=1.0))
