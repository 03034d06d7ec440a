"""When a run commits its state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clapas.checkpoint.writer import retain, write_checkpoint
from clapas.engine.state import capture
from clapas.recipe.errors import ClapasError
from clapas.train.callbacks.base import Callback
from clapas.train.run_folder import versions

if TYPE_CHECKING:
    from clapas.train.run import Run


class Checkpointing(Callback):
    """Commits a checkpoint every `checkpoint.every` steps and after the last, and keeps the newest."""

    def on_step(self, run: Run) -> None:
        """Save where it is time. An error ends the run only where nothing would come after it."""
        if not run.is_over and run.step % run.recipe.checkpoint.every:
            return
        try:
            with run.clock("checkpoint"):
                save(run)
        except ClapasError as error:
            if run.is_over:
                raise
            run.record("checkpoint_failed", error=str(error))


def save(run: Run) -> None:
    """Commit a checkpoint of this step; every rank calls it. Raises ClapasError, on all ranks alike, where it fails."""
    begin = time.perf_counter()
    snapshot, counters = capture(run.engine)
    next_index = run.recipe.phases.samples_after(run.step)
    facts = {
        "step": run.step,
        **run.hashes,
        "training": {**counters, "loader": {"next_index": next_index, "skipped": []}},
        "recipe": run.recipe.model_dump(mode="json"),
        "versions": versions(),
    }
    checkpoints = run.recipe.folder / "checkpoints"
    with run.ranks.said_once():
        path = write_checkpoint(checkpoints, snapshot, facts, run.ranks)
    if run.is_first:
        retain(checkpoints, run.recipe.checkpoint.keep)
    seconds = round(time.perf_counter() - begin, 3)
    run.record("checkpoint", path=path.name, save_seconds=seconds, totals=run.totals())
    for callback in run.callbacks:
        callback.on_checkpoint(run, path)
