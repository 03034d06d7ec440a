"""Where the time of a step goes, and which rank the others wait for."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from clapas.train.telemetry.measure import Columns, Measure
from clapas.train.waits import CollectiveWaits

if TYPE_CHECKING:
    from clapas.train.run import Run

IN_STEP = ("data", "forward", "backward", "optimizer", "communication")
OUTSIDE = ("checkpoint", "evaluation")
PARTS = IN_STEP + OUTSIDE
COMPARED = {"cpu": ("data", "forward", "backward", "optimizer"), "cuda": ("data", "forward")}
"""The parts by which ranks are compared: those in which none waits for another."""


class TimeSplit(Measure):
    """Seconds a step by part, as means over the ranks and over the steps since the row before.

    `time/other` is what remains of a step. The slowest rank is the one that computed longest, waits left out. On a GPU
    waits cannot be left out of the backward, for they overlap: there the forward decides, where it has no collectives
    in it (not with ZeRO-3, tensor or sequence parallelism); and communication is not measured.
    """

    def __init__(self) -> None:
        self._waits = CollectiveWaits()
        self._steps, self._seconds = 0, 0.0

    def start(self, run: Run) -> None:
        """Begin to count waits."""
        self._waits.open()
        run.clock.waited = lambda: self._waits.seconds

    def close(self) -> None:
        """Count no more waits."""
        self._waits.close()

    def own(self, run: Run) -> list[float]:
        """Seconds of a step, and of each of its parts."""
        steps, seconds = run.work.steps - self._steps, run.work.seconds - self._seconds
        self._steps, self._seconds = run.work.steps, run.work.seconds
        taken = run.clock.take()
        return [seconds / steps, *(taken.get(part, 0.0) / steps for part in PARTS)]

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """Means, and the straggler where ranks can be compared."""
        device = run.ranks.device.type
        step, *parts = (sum(values) / len(everyone) for values in zip(*everyone, strict=True))
        seconds = dict(zip(PARTS, parts, strict=True))
        other = max(0.0, step - sum(seconds[part] for part in IN_STEP))
        split: Columns = {f"time/{part}": mean for part, mean in seconds.items()} | {"time/other": other}
        if device == "cuda":
            split["time/communication"] = None
        if len(everyone) > 1 and _comparable(run):
            compared = [1 + PARTS.index(part) for part in COMPARED[device]]
            split |= straggler([sum(values[place] for place in compared) for values in everyone])
        return split


def straggler(compute_seconds: list[float]) -> Columns:
    """The rank that computes longest, and by what share longer than the median rank."""
    slowest = max(range(len(compute_seconds)), key=compute_seconds.__getitem__)
    middle = median(compute_seconds)
    excess = compute_seconds[slowest] / middle - 1 if middle > 0 else 0.0
    return {"slowest_rank": slowest, "slowest_rank_excess": excess}


def _comparable(run: Run) -> bool:
    """Whether a rank's compute time is its own: on a GPU, whether its forward waits for no other."""
    ranks = run.ranks
    return ranks.device.type == "cpu" or (run.recipe.parallel.zero_stage < 3 and ranks.tensor == ranks.sequence == 1)
