"""Spikes: steps whose loss or gradient norm is not finite, or far above those of the steps before.

Whether a step is one depends on the sound steps before it and on nothing else: on every rank alike, and after a resume
as without one. Median and median absolute deviation, not mean and standard deviation: a spike that was let through does
not hide the next.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any

from clapas.train.faults_config import SpikeConfig

NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""
LEAST = 0.01
"""Of the median: the least deviation to reckon with, where a loss hardly moves any more."""


class SpikeWatch:
    """The sound steps before this one, and how often a spike was acted upon.

    actions: since `window` steps in a row were sound. sound: how many have been, since the last action.
    """

    def __init__(self, config: SpikeConfig) -> None:
        self.config = config
        self.actions = self.sound = 0
        self._losses: deque[float] = deque(maxlen=config.window)
        self._norms: deque[float] = deque(maxlen=config.window)

    def fault(self, loss: float, grad_norm: float | None) -> str | None:
        """What is wrong with a step, in a few words; None: nothing. grad_norm: None where fp16 overflowed."""
        return self._fault("loss", loss, self._losses) or (
            None if grad_norm is None else self._fault("gradient norm", grad_norm, self._norms)
        )

    def _fault(self, name: str, value: float, before: deque[float]) -> str | None:
        if not math.isfinite(value):
            return f"{name} {value}"
        threshold = self.config.threshold
        if threshold is None or len(before) < self.config.window // 2:
            return None
        usual = median(before)
        deviation = max(NORMAL * median(abs(other - usual) for other in before), LEAST * abs(usual))
        if value <= usual + threshold * deviation:
            return None
        return f"{name} {value:.4g}, where {usual:.4g} ± {deviation:.2g} is usual"

    def take(self, loss: float, grad_norm: float | None) -> None:
        """A sound step."""
        self._losses.append(loss)
        if grad_norm is not None:
            self._norms.append(grad_norm)
        self.sound += 1
        if self.sound >= self.config.window:
            self.actions = 0

    def act(self, times: int = 1) -> None:
        """A spike that is acted upon."""
        self.actions += times
        self.sound = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether no further action is allowed."""
        return self.actions >= self.config.retries

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        counts = {"actions": self.actions, "sound": self.sound}
        return {"losses": list(self._losses), "grad_norms": list(self._norms), **counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Put it back as a checkpoint has it."""
        self._losses.extend(state["losses"])
        self._norms.extend(state["grad_norms"])
        self.actions, self.sound = state["actions"], state["sound"]
