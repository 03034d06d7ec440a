"""Which learning-rate schedule a step follows, and how far along it is.

A stage without `schedule` and `lr` goes on with the recipe's own, which runs over all such stages together; a stage
with either has a schedule of its own steps, warm-up included. So a stage that is added later, with a schedule of its
own, changes no learning rate before it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe, ScheduleConfig  # it alone knows of the layers above


@dataclass(frozen=True, slots=True)
class Course:
    """The schedule of a stage's steps.

    key: where the recipe says it, such as `stages[1].schedule`. given: as it says it.
    schedule: the same with its warm-up in steps.
    lr: the learning rate that the schedule's factor multiplies.
    first_step: the stage's, from 1. skipped: the run's steps before the stage that were none of this schedule's, so
    that its own count at step s of the run is s - skipped. total_steps: the schedule's, over all of its stages.
    """

    key: str
    given: ScheduleConfig
    schedule: ScheduleConfig
    lr: float
    first_step: int
    skipped: int
    total_steps: int


def courses_of(recipe: Recipe) -> tuple[Course, ...]:
    """The course of each stage."""
    stages = recipe.all_stages
    assert recipe.phases.total_steps is not None
    first_steps = [next(p.first_step for p in recipe.phases if p.stage == number) for number in range(len(stages))]
    ends = [*(first - 1 for first in first_steps[1:]), recipe.phases.total_steps]
    steps = [end - first + 1 for first, end in zip(first_steps, ends, strict=True)]
    has_own = [stage.schedule is not None or stage.lr is not None for stage in stages]
    shared = [0 if own else count for own, count in zip(has_own, steps, strict=True)]
    before = [0, *accumulate(shared)]  # the recipe's own schedule's steps before each stage
    found: list[Course] = []
    for number, stage in enumerate(stages):
        first = first_steps[number]
        lr, given = stage.lr or recipe.optimizer.lr, stage.schedule or recipe.schedule
        key = "schedule" if stage.schedule is None else f"stages[{number}].schedule"
        if has_own[number]:
            begin, skipped, total = first, first - 1, steps[number]
        else:
            begin, skipped, total = first_steps[has_own.index(False)], first - 1 - before[number], before[-1]
        found.append(Course(key, given, _in_steps(recipe, given, begin), lr, first, skipped, total))
    return tuple(found)


def course_at(courses: tuple[Course, ...], step: int) -> Course:
    """The course that a step (from 1) is on."""
    return courses[bisect_right(courses, step, key=lambda course: course.first_step) - 1]


def _in_steps(recipe: Recipe, schedule: ScheduleConfig, first_step: int) -> ScheduleConfig:
    """The schedule with a warm-up counted in steps, beginning at `first_step`."""
    if schedule.warmup_tokens is None:
        return schedule
    steps = recipe.phases.steps_for_tokens(first_step, schedule.warmup_tokens)
    return schedule.model_copy(update={"warmup_steps": steps, "warmup_tokens": None})
