"""`metrics.jsonl`: one line a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clapas.train.callbacks.base import Callback
from clapas.train.run_folder import Metrics

if TYPE_CHECKING:
    from clapas.train.run import Run


class MetricsLog(Callback):
    """Appends every row to the run's `metrics.jsonl`. Rank 0 only."""

    def __init__(self) -> None:
        self._metrics: Metrics | None = None

    def on_start(self, run: Run) -> None:
        """Open the file; rows after the step that this segment begins at are dropped."""
        if run.folder:
            self._metrics = Metrics(run.recipe.folder, from_step=run.step)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Write a row."""
        if self._metrics:
            self._metrics.append(row)

    def on_end(self, run: Run) -> None:
        """Close the file."""
        if self._metrics:
            self._metrics.close()
