"""The learning rate as a function of the step: nothing to save, any step reachable directly."""

from __future__ import annotations

import math

from clapas.train.config import DECAY_RATIO, ScheduleConfig


def learning_rate_factor(schedule: ScheduleConfig, step: int, total_steps: int) -> float:
    """The share of `optimizer.lr` that optimizer step `step` (1-based) uses, in [0, 1].

    Warm-up is linear and reaches 1 at step `warmup_steps`; the decay reaches `min_lr_ratio` at step `total_steps`.
    """
    if not 1 <= step <= total_steps:
        raise ValueError(f"step {step} is outside 1..{total_steps}")
    if step <= schedule.warmup_steps:
        return step / schedule.warmup_steps
    start = decay_start(schedule, total_steps)
    if step <= start:
        return 1.0
    progress = (step - start) / (total_steps - start)
    floor = schedule.min_lr_ratio
    if schedule.name == "cosine":
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return floor + (1 - floor) * (1 - progress)


def decay_start(schedule: ScheduleConfig, total_steps: int) -> int:
    """The last step before the decay."""
    if schedule.name == "cosine":
        return schedule.warmup_steps
    ratio = DECAY_RATIO if schedule.decay_ratio is None else schedule.decay_ratio
    return max(schedule.warmup_steps, total_steps - round(ratio * total_steps))


def may_extend(schedule: ScheduleConfig, done: int, old_total: int, new_total: int) -> bool:
    """Whether a run of `old_total` steps, of which `done` are done, may go on to `new_total`.

    Only where the steps done had the same learning rates in the longer (or shorter) run: a WSD run before its decay.
    """
    if old_total == new_total:
        return True
    return done <= min(decay_start(schedule, old_total), decay_start(schedule, new_total), new_total)
