"""AdamW that leaves alone what a batch did not touch, and clipping, for gradients of which some are sparse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tenor.config import TrainConfig


class RowAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101v3); of a sparse gradient only its rows are updated, moments included.

    That is torch.optim.SparseAdam's rule, with AdamW's decay: a word that is not in the batch does not go on moving by its old
    momentum. `lazy=False` gives such gradients AdamW's own rule.
    """

    def __init__(self, params: Any, *, lazy: bool, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0, fused: bool = True) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)
        self.lazy = lazy

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Sparse gradients must be coalesced. They are gone afterwards."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    if self.lazy:
                        self._update_rows(p, group)
                        p.grad = None
                    else:
                        p.grad = p.grad.to_dense()
        changed = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        super().step(closure)
        torch.autograd.graph.increment_version(changed)  # torch 2.13's fused rule does not tell that it wrote

    def _update_rows(self, p: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        step, (beta1, beta2) = float(state["step"]), group["betas"]
        gradient = p.grad
        assert gradient is not None
        rows, g = gradient._indices()[0], gradient._values()
        m = state["exp_avg"].index_select(0, rows).lerp_(g, 1 - beta1)
        v = state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(g, g, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, m)
        state["exp_avg_sq"].index_copy_(0, rows, v)
        if group["weight_decay"]:
            p.index_copy_(0, rows, p.index_select(0, rows).mul_(1 - group["lr"] * group["weight_decay"]))
        rate = torch.tensor(group["lr"] / (1 - beta1**step), dtype=torch.float64)  # a tensor: as a number, a rate beyond float32 would be an error here
        p.index_add_(0, rows, m.div_(v.div_(1 - beta2**step).sqrt_().add_(group["eps"])).mul_(rate), alpha=-1)


def make_optimiser(model: nn.Module, config: TrainConfig) -> RowAdamW:
    """`share` of a group is its part of the learning rate. (AdamW without decay is Adam.)"""
    embedding = [p for name, p in model.named_parameters() if "embedding" in name]
    others = [p for name, p in model.named_parameters() if "embedding" not in name]
    groups = [{"params": others, "share": 1.0}, {"params": embedding, "share": config.embedding_rate}]
    return RowAdamW(groups, lazy=config.lazy_embedding, lr=config.learning_rate, eps=config.adam_epsilon, weight_decay=config.weight_decay)


def clip(model: nn.Module, most: float) -> None:
    """Scale all gradients together so that their global norm is at most `most`; 0: leave them. Sparse ones come out coalesced."""
    numbers = []
    for p in model.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()
        if p.grad is not None:
            numbers.append(p.grad._values() if p.grad.is_sparse else p.grad)
    if most and numbers:
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(numbers)))  # as torch.nn.utils.clip_grad_norm_, which takes no sparse ones
        torch._foreach_mul_(numbers, torch.clamp(most / (total + 1e-6), max=1.0))
