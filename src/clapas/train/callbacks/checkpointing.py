"""When a run commits its state."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from clapas.checkpoint.background import Background
from clapas.checkpoint.host_copy import HostCopy
from clapas.checkpoint.retention import retain
from clapas.checkpoint.saving import Saving
from clapas.engine.state import capture
from clapas.recipe.errors import ClapasError
from clapas.train.callbacks.base import Callback
from clapas.train.run_folder import versions

if TYPE_CHECKING:
    from clapas.train.run import Run


class Checkpointing(Callback):
    """Commits a checkpoint every `checkpoint.every` steps and after the last, one at a time, beside the training."""

    def __init__(self) -> None:
        self._copy = HostCopy()
        self._saving: Saving | None = None
        self._facts: dict[str, Any] = {}
        self._begun = 0.0
        self._retention: Background | None = None

    def on_step(self, run: Run) -> None:
        """Save where it is time, and see how far the save before is; the last one is waited for."""
        is_due = run.is_over or run.step % run.recipe.checkpoint.every == 0
        if self._saving is None and not is_due:
            return
        with run.clock("checkpoint"):
            self._look(run, wait=is_due)
            if is_due:
                self._begin(run)
                self._look(run, wait=run.is_over or not run.recipe.checkpoint.asynchronous)
        if run.is_over:
            self._end_retention(run)

    def before_rollback(self, run: Run) -> None:
        """What is being saved may be what the run goes back to."""
        with run.clock("checkpoint"):
            self._look(run, wait=True)

    def on_end(self, run: Run) -> None:
        """After an error a checkpoint may be under way. The other ranks may be gone, and it is left uncommitted."""
        if self._saving:
            with run.clock("checkpoint"):
                self._saving.abandon()

    def _begin(self, run: Run) -> None:
        """Copy the state, and start to write it."""
        self._begun = time.perf_counter()
        snapshot, counters = capture(run.engine)
        if run.recipe.checkpoint.asynchronous and not run.is_over:
            snapshot = self._copy.take(snapshot)
        plan = run.plan
        windows = zip(plan.left_out, plan.drawn.left_out, strict=True)
        skipped = [{"steps": steps, "samples": samples} for steps, samples in windows]
        training = {**counters, "loader": {"next_index": plan.drawn.after(run.step), "skipped": skipped}}
        if run.spikes is not None:
            training["spikes"] = run.spikes.state
        if plan.manifest.tokenizer is not None:
            training["tokenizer"] = plan.manifest.tokenizer.hash
        manifest = {
            "step": run.step,
            **run.hashes,
            "training": training,
            "recipe": run.recipe.model_dump(mode="json"),
            "versions": versions(),
        }
        try:
            written = run.heart.beat_in("checkpoint")
            self._saving = Saving(run.recipe.folder / "checkpoints", snapshot, manifest, run.ranks, written)
        except ClapasError as error:
            self._failed(run, run.step, error)
        stall = round(time.perf_counter() - self._begun, 3)
        self._facts = {"step": run.step, "stall_seconds": stall, "totals": run.totals()}

    def _look(self, run: Run, wait: bool) -> None:
        """Take note of a checkpoint that has been committed, or has failed."""
        if self._saving is None:
            return
        saving = self._saving
        try:
            if not saving.is_done(wait):
                return
        except ClapasError as error:
            self._saving = None
            self._failed(run, self._facts["step"], error)
            return
        self._saving = None
        seconds = round(time.perf_counter() - self._begun, 3)
        run.record("checkpoint", **self._facts, path=saving.final.name, save_seconds=seconds)
        if run.is_first:
            self._end_retention(run)
            keep = run.recipe.checkpoint
            self._retention = Background(lambda: retain(saving.final.parent, keep.keep, keep.keep_every))
        for callback in run.callbacks:
            callback.on_checkpoint(run, saving.final)

    def _failed(self, run: Run, step: int, error: ClapasError) -> None:
        """Tell of it: training goes on, and the next save tries again. Raises the error where none would come after."""
        if run.is_over and step == run.step:
            with run.ranks.said_once():
                raise error
        run.record("checkpoint_failed", step=step, error=str(error))
        if run.is_first:
            print(error, file=sys.stderr)

    def _end_retention(self, run: Run) -> None:
        if self._retention is None:
            return
        self._retention.has_ended(wait=True)
        if self._retention.error:
            run.record("retention_failed", error=self._retention.error)
        self._retention = None
