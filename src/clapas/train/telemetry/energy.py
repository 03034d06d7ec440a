"""Joules of the run, and joules a token."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from clapas.ledger.ledger import NOT_MEASURED
from clapas.train.energy.meter import BOUNDARIES, open_meter
from clapas.train.telemetry.measure import Columns, Measure

if TYPE_CHECKING:
    from clapas.train.run import Run

READ_SECONDS = 10.0
"""The longest time between two readings: RAPL's counters wrap after a few minutes at full power."""


class Energy(Measure):
    """What the meters of all ranks say together, since the segment began; None where any of them has nothing to say,
    or where they measure within different boundaries. The run keeps it for its ledger."""

    def start(self, run: Run) -> None:
        """Open this rank's meter."""
        self._meter = open_meter(run.ranks.device)
        self._read_at = time.monotonic()
        self._row_joules, self._row_tokens = 0.0, 0

    def after_step(self, run: Run) -> None:
        """Keep up with counters that wrap, and with a ledger that is about to be written."""
        is_saved = run.is_over or run.step % run.recipe.checkpoint.every == 0
        if is_saved and not run.logs(run.step):
            self._tell(run, run.ranks.gather(self.own(run)))
        elif time.monotonic() - self._read_at > READ_SECONDS:
            self.own(run)

    def own(self, run: Run) -> list[float]:
        """[which boundary, joules]."""
        self._read_at = time.monotonic()
        return [float(BOUNDARIES.index(self._meter.boundary)), self._meter.joules()]

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """The sum, and what a token took since the row before."""
        total = self._tell(run, everyone)
        if total is None:
            return {"energy_joules": None, "joules_per_token": None}
        joules, tokens = total - self._row_joules, run.work.tokens - self._row_tokens
        self._row_joules, self._row_tokens = total, run.work.tokens
        return {"energy_joules": total, "joules_per_token": joules / max(1, tokens)}

    def _tell(self, run: Run, everyone: list[list[float]]) -> float | None:
        boundaries, joules = zip(*everyone, strict=True)
        total = sum(joules)
        if math.isnan(total) or len(set(boundaries)) > 1:
            run.energy_joules, run.energy_boundary = NOT_MEASURED, None
            return None
        run.energy_joules, run.energy_boundary = total, BOUNDARIES[int(boundaries[0])]
        return total
