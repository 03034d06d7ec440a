"""`metrics.jsonl`: one line a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from clapas.recipe.line_log import LineLog
from clapas.train.callbacks.base import Callback
from clapas.train.run_folder import open_metrics

if TYPE_CHECKING:
    from clapas.train.run import Run


class MetricsLog(Callback):
    """Appends every row to the run's `metrics.jsonl`. Rank 0 only."""

    def __init__(self) -> None:
        self._rows: LineLog | None = None

    def on_start(self, run: Run) -> None:
        """Open the file; rows after the step that this segment begins at are dropped."""
        if run.folder:
            self._rows = open_metrics(run.recipe.folder, from_step=run.step)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Write a row."""
        if self._rows:
            self._rows.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def on_end(self, run: Run) -> None:
        """Write what a full disk refused before, if there is room now."""
        if self._rows:
            self._rows.flush()
