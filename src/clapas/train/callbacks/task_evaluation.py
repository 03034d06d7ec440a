"""Tasks on the weights as they train: figures in metrics.jsonl and, with all that decides them, in the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clapas.evaluate.config import EvaluationConfig
from clapas.evaluate.continuations import Scorer
from clapas.evaluate.harness.library import import_library
from clapas.evaluate.load import read_tokenizer
from clapas.evaluate.random_states import own_random_states
from clapas.evaluate.stop_ids import turn_ends
from clapas.evaluate.writer import Writer
from clapas.train.callbacks.base import Callback
from clapas_data.encode import open_tokenizer

if TYPE_CHECKING:
    from clapas.evaluate.harness.tasks import OpenTasks
    from clapas.train.run import Run

SPLIT = "tasks"
"""What stands for a split in their rows of metrics.jsonl; the figures are columns `TASK/METRIC`."""


class TaskEvaluation(Callback):
    """Runs the recipe's tasks every `evaluation.tasks_every` steps and at the end; all ranks share their requests.

    Nothing of the run changes by it: random states are put back, and no gradient is there.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self._words, self._limit = config.tasks, config.tasks_limit
        self._every = config.tasks_every or config.every
        self._tasks: OpenTasks | None = None

    def on_start(self, run: Run) -> None:
        """Open the tasks: what is wrong with them is told before the first step. Raises UserError."""
        with own_random_states(run.recipe.seed), run.ranks.said_once():
            import_library()
            from clapas.evaluate.harness.tasks import open_tasks

            self._tasks = open_tasks(self._words)

    def on_step(self, run: Run) -> None:
        """Run them where it is time."""
        if run.step % self._every and run.step != run.recipe.total_steps:
            return
        from clapas.evaluate.harness.run import run_tasks

        assert self._tasks is not None
        seed = run.recipe.seed
        with run.clock("evaluation"), run.engine.averaged():
            found = run_tasks(_model_of(run), self._tasks, seed=seed, limit=self._limit, bootstrap=0)
        figures = {name: _figures(task["metrics"]) for name, task in found["tasks"].items()}
        tasks = {
            name: {**figures[name], **{key: task[key] for key in ("version", "items", "files")}}
            for name, task in found["tasks"].items()
        }
        run.record("tasks", tasks=tasks, **{name: found[name] for name in ("harness", "seeds", "limit", "cut")})
        columns = {f"{name}/{metric}": value for name, own in figures.items() for metric, value in own.items()}
        run.log({"step": run.step, "split": SPLIT, **columns})


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "_stderr" not in name and value is not None}


def _model_of(run: Run) -> Any:
    """The model that trains, as the harness asks it. A whole one also writes; parts of one only judge."""
    from clapas.evaluate.harness.model import HarnessModel

    ranks, recipe = run.ranks, run.recipe
    folder = Path(recipe.data.path) / "tokenizer"
    tokenizer, special = read_tokenizer(folder), open_tokenizer(folder).record
    longest = recipe.model.max_position_embeddings // ranks.sequence * ranks.sequence
    model = run.heart.beside(run.engine)
    scorer = Scorer(model, longest, ranks.device, ranks, shares_contexts=False)
    is_whole = recipe.parallel.zero_stage < 3 and ranks.tensor == ranks.sequence == 1
    decoder = run.engine.deepspeed.module
    writer = Writer(decoder, tokenizer, special, ranks, recipe.seed, turn_ends(folder)) if is_whole else None
    return HarnessModel(scorer, writer, tokenizer, special)
