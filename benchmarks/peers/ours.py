"""Our side: the training loop that `clapas train` runs, with all that it does by default (telemetry, metrics.jsonl)."""

from __future__ import annotations

from typing import Any

from job import Job
from job_recipe import recipe_of
from turns import Turns

from clapas.train.callbacks.base import Callback
from clapas.train.run import Run
from clapas.train.train import train


class InTurn(Callback):
    """Stops the loop between two blocks, and tells what share of a block's steps was spent waiting for data."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._data = self._all = 0.0

    def on_start(self, run: Run) -> None:
        self._turns.wait()

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        self._data += row.get("time/data") or 0.0
        self._all += row["step_seconds"]

    def on_step(self, run: Run) -> None:
        self._turns.step_done(data_share=self._data / self._all)


if __name__ == "__main__":
    train(recipe_of(Job.from_command_line()), callbacks=[InTurn()])
