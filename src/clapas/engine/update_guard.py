"""Between a gradient's norm and the update: the last moment at which a step can be refused.

DeepSpeed computes the norm and updates the weights in one call. In between, at every stage, it calls the optimizer
inside its own; so that call is what is guarded. Where it does not go through, masters and moments stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Accepts = Callable[[float], bool]
"""Whether a step with this gradient norm (global L2, before clipping) may update the weights; on all ranks alike."""


class UpdateGuard:
    """Guards the updates of `base`, the optimizer inside `outer`, DeepSpeed's. refused: whether the last step was."""

    def __init__(self, base: torch.optim.Optimizer, outer: Any) -> None:
        self._update, self._outer = base.step, outer
        self._accepts: Accepts | None = None
        self._scale = 1.0
        self._is_judged = self.refused = False
        vars(base)["step"] = self._guarded

    def begin(self, accepts: Accepts | None, scale: float) -> None:
        """Before a step. scale: what DeepSpeed's norm is to be divided by.

        ZeRO-3 updates a step's weights in several parts; it is judged once.
        """
        self._accepts, self._scale = accepts, scale
        self._is_judged = self.refused = False

    def _guarded(self, *inputs: Any, **named: Any) -> Any:
        if self._accepts is not None and not self._is_judged:
            self.refused = not self._accepts(float(self._outer._global_grad_norm) / self._scale)
            self._is_judged = True
        return None if self.refused else self._update(*inputs, **named)
