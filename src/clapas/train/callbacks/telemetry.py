"""What a logged row holds besides loss and speed: see `clapas.train.telemetry` and docs/telemetry.md."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from clapas.train.callbacks.base import Callback
from clapas.train.telemetry.energy import Energy
from clapas.train.telemetry.measure import Measure
from clapas.train.telemetry.memory import Memory
from clapas.train.telemetry.norms import ActivationNorms, GradientNorms, WeightNorms
from clapas.train.telemetry.rates import Rates
from clapas.train.telemetry.source_losses import SourceLosses
from clapas.train.telemetry.time_split import TimeSplit

if TYPE_CHECKING:
    from clapas.train.run import Run


def measures() -> list[Measure]:
    """All that is measured, in the order of the columns."""
    return [SourceLosses(), Rates(), TimeSplit(), Memory(), GradientNorms(), WeightNorms(), ActivationNorms(), Energy()]


class Telemetry(Callback):
    """Brings every measure's columns to the row, with one collective for all of them."""

    def __init__(self) -> None:
        self._measures = measures()

    def on_start(self, run: Run) -> None:
        """Start the measures."""
        for measure in self._measures:
            measure.start(run)

    def before_step(self, run: Run) -> None:
        """Tell the measures of the coming step."""
        for measure in self._measures:
            measure.before_step(run)

    def on_step(self, run: Run) -> None:
        """Tell the measures of the step that was done."""
        for measure in self._measures:
            measure.after_step(run)

    def add_columns(self, run: Run, row: dict[str, Any]) -> None:
        """Measure, share with the other ranks, and add to the row."""
        own = [measure.own(run) for measure in self._measures]
        everyone = run.ranks.gather([number for numbers in own for number in numbers])
        edges = [sum(map(len, own[:count])) for count in range(len(own) + 1)]
        for measure, (begin, end) in zip(self._measures, pairwise(edges), strict=True):
            row.update(measure.columns(run, row, [numbers[begin:end] for numbers in everyone]))

    def on_end(self, run: Run) -> None:
        """Let go of all that the measures hang on."""
        for measure in self._measures:
            measure.close()
