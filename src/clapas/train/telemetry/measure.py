"""What a measure is: each rank brings a few numbers at a logged step, and all of them make columns of the row.

The numbers of all measures travel in one small collective. Between logged steps a measure must not wait for the GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clapas.train.run import Run

Columns = dict[str, Any]


class Measure:
    """Override what you need; each method is called on every rank."""

    def start(self, run: Run) -> None:
        """Before the first step of a segment."""

    def before_step(self, run: Run) -> None:
        """Before every step; `run.logs(run.step + 1)` says whether it will have a row."""

    def after_step(self, run: Run) -> None:
        """After every step, before a checkpoint of it."""

    def own(self, run: Run) -> list[float]:
        """This rank's numbers for a row, equally many on every rank. May wait for the GPU."""
        return []

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """The columns, from every rank's own numbers. row: what it holds already."""
        return {}

    def close(self) -> None:
        """After the last step, also after an error."""
