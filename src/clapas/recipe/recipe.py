"""The recipe: everything that a run is, in one typed file.

Each section is defined beside what it configures, in its layer's torch-free `config.py`; this module only puts them
together. It is the one place in `recipe/` that knows of the layers above.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import Field, StringConstraints, model_validator

from clapas.checkpoint.config import CheckpointConfig
from clapas.engine.config import ParallelConfig, Precision, check_precision, check_shares
from clapas.evaluate.config import EvaluationConfig
from clapas.loader.config import DataConfig
from clapas.model.config import ComputeConfig, ModelConfig
from clapas.recipe.hashes import content_hash
from clapas.recipe.shipped import find_shipped
from clapas.recipe.typed import TypedFile, read_typed
from clapas.train.config import OptimizerConfig, ScheduleConfig, TelemetryConfig, TrainConfig

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Recipe(TypedFile):
    """A run. `clapas train RECIPE` needs nothing else."""

    also_called: ClassVar[dict[str, str]] = {"dtype": "precision", "output_dir": "run_dir", "dataset": "data"}

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    run_dir: Path | None = None
    model: ModelConfig
    data: DataConfig
    compute: ComputeConfig = ComputeConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    precision: Precision = "fp32"
    parallel: ParallelConfig = ParallelConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        length, positions = self.data.sequence_length, self.model.max_position_embeddings
        if length > positions:
            raise ValueError(
                f"data.sequence_length: found {length}; at most model.max_position_embeddings, which is {positions}"
            )
        warmup, tokens = self.schedule_in_steps.warmup_steps, self.schedule.warmup_tokens
        if warmup >= self.total_steps:
            key, found = ("steps", warmup) if tokens is None else ("tokens", f"{tokens}, which are {warmup} steps")
            raise ValueError(f"schedule.warmup_{key}: found {found}; must be under the run's {self.total_steps} steps")
        check_shares(self.parallel, self.model, length)
        check_precision(self.precision, self.parallel)
        return self

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run_dir or Path("runs") / self.name

    @property
    def total_steps(self) -> int:
        """The run's optimizer steps."""
        return self.train.total_steps(self.data.sequence_length)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer step reads, over all ranks."""
        return self.train.global_batch_size * self.data.sequence_length

    @property
    def schedule_in_steps(self) -> ScheduleConfig:
        """The schedule with its warm-up in steps."""
        return self.schedule.in_steps(self.tokens_per_step)

    def place(self, key: str) -> str:
        """Where a dotted key was given, for a message: `file:line`, "command line", or the recipe's name."""
        return super().place(key) or f"recipe {self.name}"

    def identity(self, data_hash: str) -> dict[str, Any]:
        """What makes this run this run: changing any of it makes another, and a resume refuses.

        data_hash: the data plan's hash, which stands for the data wherever they lie. The length is left out: whether a
        run may be extended is the schedule's to say (`train.schedule.may_extend`).
        """
        return {
            "seed": self.seed,
            "model": self.model.model_dump(mode="json"),
            "data": data_hash,
            "optimizer": self.optimizer.model_dump(mode="json"),
            "schedule": self.schedule.model_dump(mode="json"),
            "global_batch_size": self.train.global_batch_size,
            "precision": self.precision,
        }

    def identity_hash(self, data_hash: str) -> str:
        """SHA-256 of the identity."""
        return content_hash(self.identity(data_hash))

    def execution_hash(self, world_size: int) -> str:
        """SHA-256 of all the rest: how, where and on how many ranks the run is executed."""
        rest = self.model_dump(mode="json", exclude={"seed", "model", "optimizer", "schedule"})
        return content_hash({**rest, "world_size": world_size})

    def to_yaml(self) -> str:
        """The recipe as resolved: every value explicit; reading it gives an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_recipe(name_or_path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """A recipe by path, or by the name of a shipped one. Raises UserError that names every mistake."""
    return read_typed(find_shipped(name_or_path, "recipes"), Recipe, overrides)
