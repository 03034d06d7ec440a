"""Lion: the sign of a momentum (Chen et al., 2023, Symbolic Discovery of Optimization Algorithms, program 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer


class Lion(Optimizer):
    """Every weight moves by exactly lr, so half of Adam's memory suffices: one momentum and no variance.

        c = b1 m + (1 - b1) g;   w = w - lr (sign(c) + weight_decay w);   m = b2 m + (1 - b2) g

    params: parameters or groups of them, with `weight_decay` each.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] no closure
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["exp_avg"] = torch.zeros_like(weight)
                momentum = state["exp_avg"]
                direction = momentum.lerp(weight.grad, 1 - beta1).sign_()
                weight.mul_(1 - lr * group["weight_decay"]).add_(direction, alpha=-lr)
                momentum.lerp_(weight.grad, 1 - beta2)
