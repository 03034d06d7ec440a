"""Our side of supervised fine-tuning: the loop of `clapas train` on a folder of examples, packed, as it comes."""

from __future__ import annotations

from typing import Any

from job import Job
from job_recipe import WITHOUT_END, recipe_of
from turns import Turns

from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback
from clapas.train.run import Run
from clapas.train.train import train


class InTurn(Callback):
    """Stops the loop between two blocks, and tells how many tokens, padding left out, its steps have held."""

    def __init__(self) -> None:
        self._turns = Turns()

    def on_start(self, run: Run) -> None:
        self._turns.wait()

    def on_step(self, run: Run) -> None:
        self._turns.step_done(tokens=run.work.held, steps=run.work.steps)


def sft_recipe(job: Job) -> Recipe:
    """The job's recipe with its objective. tokens of the job: the folder of examples."""
    values: dict[str, Any] = recipe_of(job).model_dump(mode="json", by_alias=True, exclude_unset=True)
    values["data"] = {"path": job.tokens, "sequence_length": job.sequence_length}
    values["objective"] = {"name": "sft"}
    values["evaluation"] = {"every": WITHOUT_END}
    return Recipe.model_validate(values)


if __name__ == "__main__":
    train(sft_recipe(Job.from_command_line()), callbacks=[InTurn()])
