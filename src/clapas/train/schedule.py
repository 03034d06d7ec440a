"""The learning rate as a function of the step: nothing to save, any step reachable directly."""

from __future__ import annotations

import math
from collections.abc import Callable

from clapas.train.config import ScheduleConfig

SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "1-sqrt": lambda progress: 1 - math.sqrt(progress),
}
"""How a decay goes from 1 to 0 while its progress goes from 0 to 1."""


def learning_rate_factor(schedule: ScheduleConfig, step: int, total_steps: int) -> float:
    """The share of `optimizer.lr` that optimizer step `step` (1-based) uses, in [0, 1].

    Warm-up is linear and reaches 1 at step `warmup_steps`; a decay reaches `min_lr_ratio` at step `total_steps`;
    `inverse_sqrt` is sqrt(warmup_steps / step), with a warm-up of one step where there is none.
    Raises ValueError outside 1..total_steps, or where the warm-up is in tokens (see `Recipe.courses`).
    """
    if not 1 <= step <= total_steps:
        raise ValueError(f"step {step} is outside 1..{total_steps}")
    if schedule.warmup_tokens is not None:
        raise ValueError("the warm-up is in tokens: a recipe's courses have it in steps")
    if step <= schedule.warmup_steps:
        return step / schedule.warmup_steps
    if schedule.name == "inverse_sqrt":
        return math.sqrt(max(1, schedule.warmup_steps) / step)
    start = decay_start(schedule, total_steps)
    if step <= start:
        return 1.0
    floor = schedule.min_lr_ratio or 0.0
    shape = SHAPES[schedule.decay_shape or schedule.name]
    return floor + (1 - floor) * shape((step - start) / (total_steps - start))


def decay_start(schedule: ScheduleConfig, total_steps: int) -> int:
    """The last step whose learning rate does not depend on the length of the run."""
    if schedule.name in ("constant", "inverse_sqrt"):
        return total_steps
    if schedule.decay_ratio is None:  # the decay takes the whole run
        return schedule.warmup_steps
    return max(schedule.warmup_steps, total_steps - round(schedule.decay_ratio * total_steps))


def may_extend(schedule: ScheduleConfig, done: int, old_total: int, new_total: int) -> bool:
    """Whether a run of `old_total` steps, of which `done` are done, may go on to `new_total`.

    Only where the steps done had the same learning rates in the longer (or shorter) run: a WSD run before its decay, a
    constant or inverse_sqrt run always.
    """
    if old_total == new_total:
        return True
    return done <= min(decay_start(schedule, old_total), decay_start(schedule, new_total), new_total)
