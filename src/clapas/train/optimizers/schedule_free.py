"""Schedule-Free AdamW: an average of the iterates in place of a decaying learning rate.

Defazio et al., 2024, The Road Less Scheduled, algorithm 1. Three points: z follows AdamW's steps, x is the average of
the z (weighted by the squared learning rate, so that a warm-up counts little), and gradients are taken between them, at
y. Here the weights that train are y; x is the state `average`, which evaluation, export and checkpoints take.

x is kept and not derived from y and z, as the authors' code does: four more bytes a parameter, sharded like all states,
for an average that any reader of a checkpoint finds by its name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from clapas.checkpoint.format import AVERAGE


class ScheduleFreeAdamW(Optimizer):
    """AdamW whose evaluation weights are the average of its iterates.

        y = (1 - b1) z + b1 x, where the gradient g is taken
        v = b2 v + (1 - b2) g²
        z = z - lr (g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay y)
        x = (1 - c) x + c z, with c = lr² / (the sum of all lr² until now)

    params: parameters or groups of them, with `weight_decay` each. A learning rate of 0 is no step.
    """

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        for group in self.param_groups:
            group["peak_lr"] = group["lr"]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] no closure
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and group["lr"] > 0:
                    self._update(weight, weight.grad, group)

    def _update(self, y: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, lr, (beta1, beta2) = self.state[y], group["lr"], group["betas"]
        if not state:
            state["exp_avg_sq"] = torch.zeros_like(y)
            state["z"], state[AVERAGE] = y.detach().clone(), y.detach().clone()
            state["step"], state["weight_sum"] = torch.zeros(()), torch.zeros(())  # on the CPU: read in every step
        v, z, x = state["exp_avg_sq"], state["z"], state[AVERAGE]
        state["step"] += 1
        share = (lr / group["peak_lr"]) ** 2  # a share of the peak's keeps the sum exact enough in fp32
        state["weight_sum"] += share
        v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (v / (1 - beta2 ** state["step"].item())).sqrt_().add_(group["eps"])
        z.addcdiv_(gradient, denominator, value=-lr).add_(y, alpha=-lr * group["weight_decay"])
        x.lerp_(z, share / state["weight_sum"].item())
        y.copy_(torch.lerp(z, x, beta1))
