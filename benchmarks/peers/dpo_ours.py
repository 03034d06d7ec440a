"""Our side of DPO: the loop of `clapas train` with all that it does by default; it also tells the reference's time."""

from __future__ import annotations

from typing import Any

from dpo_job import DpoJob
from job_recipe import BETAS, CLIPPING, LR, WEIGHT_DECAY, WITHOUT_END
from turns import Turns

from clapas.ledger.ledger import read_ledger
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas.train.run import Run
from clapas.train.train import train


class InTurn(Callback):
    """Stops the loop between two blocks, and tells how many pairs a block had."""

    def __init__(self) -> None:
        self._turns: Turns | None = None
        self._pairs = 0

    def before_step(self, run: Run) -> None:
        """Wait for the first turn; by then the reference is made."""
        if self._turns is None:
            (event,) = (event for event in read_ledger(run.path) if event["event"] == "reference")
            self._reference = event["seconds"] / (event["documents"] / 2)
            self._turns = Turns()
            self._turns.wait()

    def on_step(self, run: Run) -> None:
        """Count the step's pairs."""
        assert run.last_step is not None
        assert self._turns is not None
        self._pairs += int(run.last_step.targets)
        self._turns.step_done(pairs=self._pairs, reference_seconds=self._reference)


def recipe_of(job: DpoJob) -> Recipe:
    """What a user would write."""
    values: dict[str, Any] = {
        "name": "benchmark",
        "run_dir": f"{job.scratch}/run",
        "objective": {"name": "dpo"},
        "model": job.dimensions,
        "data": {"path": job.folder, "sequence_length": job.sequence_length},
        "optimizer": {"lr": LR / 100, "betas": BETAS, "weight_decay": WEIGHT_DECAY, "gradient_clipping": CLIPPING},
        "schedule": {"name": "constant"},
        "train": {"steps": WITHOUT_END, "global_batch_size": job.batch, "threads": job.threads},
        "checkpoint": {"every": WITHOUT_END},
        "evaluation": {"every": WITHOUT_END},
    }
    return Recipe.model_validate(values)


if __name__ == "__main__":
    train(recipe_of(DpoJob.from_command_line()), callbacks=[InTurn()])
