"""The scale of the loss in fp16: large enough that small gradients do not vanish, small enough that none overflows.

Dynamic (Micikevicius et al., 2018): an overflow halves it and the step is skipped; after `loss_scale_window` sound
steps it doubles. DeepSpeed keeps it in one of two objects, with and without ZeRO, that follow the same rule.
"""

from __future__ import annotations

from typing import Any

STATE = ("cur_scale", "cur_iter", "last_overflow_iter")
LOWEST = 1.0
"""Below it fp16 gradients would be smaller than without scaling: the run has diverged."""


class LossScale:
    """The loss scale inside one of DeepSpeed's optimizers."""

    def __init__(self, optimizer: Any) -> None:
        zero_scaler = getattr(optimizer, "loss_scaler", None)
        if zero_scaler is not None:
            zero_scaler.raise_error_at_min_scale = False  # the engine says it, as a message and at every stage
        self.by_engine = zero_scaler is None
        """Whether the engine multiplies the loss: DeepSpeed without ZeRO only divides the gradient (0.19.8)."""
        self._state = zero_scaler or optimizer.loss_scale_config

    @property
    def value(self) -> float:
        """The scale of the next step."""
        return float(self._state.cur_scale)

    @property
    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {name: float(getattr(self._state, name)) for name in STATE}

    def restore(self, state: dict[str, float]) -> None:
        """Put it back as a checkpoint has it."""
        self._state.cur_scale = state["cur_scale"]
        self._state.cur_iter, self._state.last_overflow_iter = int(state["cur_iter"]), int(state["last_overflow_iter"])
