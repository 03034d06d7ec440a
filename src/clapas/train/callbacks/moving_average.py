"""An exponential moving average of the weights, which evaluation and export take (Polyak averaging; `ema_decay`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clapas.checkpoint.format import AVERAGE
from clapas.engine.averaging import owners
from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run


class MovingAverage(Callback):
    """average = d average + (1 - d) weights after every step, on each rank's own part of the fp32 masters.

    Until step 1 / (1 - decay) d is 1 - 1 / step, a plain mean: the initial weights, which an average that begins with
    them would carry for thousands of steps, count nothing.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay

    @torch.no_grad()
    def on_step(self, run: Run) -> None:
        """Take the new weights in."""
        share = max(1 - self._decay, 1 / run.step)
        for owner in owners(run.engine):
            state = run.engine.base_optimizer.state[owner]
            if AVERAGE not in state:
                state[AVERAGE] = torch.zeros_like(owner, requires_grad=False)
            state[AVERAGE].lerp_(owner.detach(), share)
