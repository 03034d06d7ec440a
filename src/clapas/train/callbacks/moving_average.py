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

    It begins as the first weights that a step made. Until step 1 / (1 - decay) d is 1 - 1 / step, a plain mean: the
    initial weights, which an average that begins with them would carry for thousands of steps, count nothing. What is
    frozen is its own average, and none is kept; a step that fp16 skipped made no weights.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay

    @torch.no_grad()
    def on_step(self, run: Run) -> None:
        """Take the new weights in."""
        if run.engine.was_skipped:
            return
        share = max(1 - self._decay, 1 / run.step)
        for owner in owners(run.engine):
            if not owner.requires_grad:
                continue
            state = run.engine.base_optimizer.state[owner]
            if AVERAGE in state:
                state[AVERAGE].lerp_(owner.detach(), share)
            else:
                state[AVERAGE] = owner.detach().clone()
