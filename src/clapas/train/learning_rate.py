"""The learning rate of a step: the recipe's schedules composed over its stages."""

from __future__ import annotations

from clapas.recipe.courses import Course, course_at
from clapas.recipe.phases import Phases
from clapas.recipe.recipe import Recipe
from clapas.train.schedule import learning_rate_factor, may_extend


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of an optimizer step (from 1 to the run's last). Raises ValueError for another."""
    if not 1 <= step <= recipe.total_steps:
        raise ValueError(f"step {step} is outside 1..{recipe.total_steps}")
    course = course_at(recipe.courses, step)
    return course.lr * learning_rate_factor(course.schedule, step - course.skipped, course.total_steps)


def same_past(old: Recipe, new: Recipe, done: int, phases: tuple[Phases, Phases] | None = None) -> bool:
    """Whether the first `done` steps read batches of one kind, at one learning rate, in both recipes.

    phases: of both, with the mixtures that the data make of their rules; without, equal rules count as equal mixtures.

    Between two neighbouring borders of either recipe all steps are alike, so that the borders are enough to look at.
    """
    recipes = (old, new)
    of_old, of_new = phases or (old.phases, new.phases)
    if done > min(recipe.total_steps for recipe in recipes):
        return False
    borders = {phase.first_step for recipe in recipes for phase in recipe.phases}
    borders |= {course.first_step for recipe in recipes for course in recipe.courses}
    for first in sorted(border for border in borders if border <= done):
        last = min([done, *(border - 1 for border in borders if border > first)])
        courses = (course_at(old.courses, first), course_at(new.courses, first))
        if _batches(of_old, first) != _batches(of_new, first) or not _same_rates(*courses, last):
            return False
    return True


def _batches(phases: Phases, step: int) -> tuple[object, ...]:
    """What the batches of a step are like."""
    phase = phases.at(step)
    return phases.interval(step), phase.sequence_length, phase.mixture, phase.rules


def _same_rates(old: Course, new: Course, last: int) -> bool:
    """Whether two courses, on which both runs are from a common step on, have equal rates until step `last`."""
    same = (old.schedule, old.lr, old.skipped) == (new.schedule, new.lr, new.skipped)
    return same and may_extend(old.schedule, last - old.skipped, old.total_steps, new.total_steps)
