"""What a run draws: its steps' samples in order, those that it has left out included.

A run that goes back to a checkpoint because its data made it diverge leaves out what it read since: the same steps come
again, and read on where the text was left. So samples are numbered as they are drawn. Where nothing was left out that
is the order of the steps; each window, the steps that were done in vain, puts their samples in between once more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from clapas.recipe.phases import Phase, Phases

Window = tuple[int, int]
"""The first and the last of the steps whose samples were left out. The next step after it was the first again."""


class Drawn:
    """The samples that steps draw. windows: what was left out, in the order in which that happened.

    phases: in the order drawn; their `first_sample` counts what is drawn.
    left_out: [first, stop) of the samples of each window.
    """

    def __init__(self, phases: Phases, windows: Sequence[Window] = ()) -> None:
        self._phases, self._starts, self._shifts = phases, [1], [0]
        self.left_out: list[tuple[int, int]] = []
        legs = [1]
        for first, last in windows:
            end = self.interval(last).stop
            self.left_out.append((self.interval(first).start, end))
            keep = bisect_right(self._starts, first - 1)
            self._starts[keep:], self._shifts[keep:] = [first], [end - phases.samples_after(first - 1)]
            legs.append(first)
        lasts = [last for _, last in windows]
        self.phases = _in_order(phases, list(zip(legs, [*lasts, None], strict=True)))

    def interval(self, step: int) -> range:
        """The indices of the samples that a step (from 1) draws, over all ranks; the last time, if it came again."""
        shift = self._shifts[bisect_right(self._starts, step) - 1]
        interval = self._phases.interval(step)
        return range(interval.start + shift, interval.stop + shift)

    def step_of(self, index: int) -> int:
        """The step that draws a sample; where that was left out, the one that drew it in vain."""
        phase = self.phases[bisect_right(self.phases, index, key=lambda phase: phase.first_sample) - 1]
        return phase.first_step + (index - phase.first_sample) // phase.global_batch_size

    def after(self, step: int) -> int:
        """The samples drawn when a step is done (0: before the first)."""
        return self.interval(step).stop if step else 0


def _in_order(phases: Phases, legs: Sequence[tuple[int, int | None]]) -> tuple[Phase, ...]:
    """The phases that the legs of a run go through. legs: (first step, last step; None: to the end of the run)."""
    found: list[Phase] = []
    drawn = 0
    for first, last in legs:
        following = [phase.first_step for phase in phases][1:]
        for phase, next_first in zip(phases, [*following, None], strict=True):
            begin = max(first, phase.first_step)
            end = min((step for step in (last, next_first and next_first - 1) if step is not None), default=None)
            if end is not None and end < begin:
                continue
            found.append(replace(phase, first_step=begin, first_sample=drawn))
            if end is not None:
                drawn += (end - begin + 1) * phase.global_batch_size
    return tuple(found)
