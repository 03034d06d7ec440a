"""The recipe: everything that a run is, in one typed file.

Each section is defined beside what it configures, in its layer's torch-free `config.py`; this module only puts them
together. It is the one place in `recipe/` that knows of the layers above.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import Field, StringConstraints, model_validator

from clapas.checkpoint.config import CheckpointConfig
from clapas.engine.config import ParallelConfig, Precision, check_precision, check_shares, check_tensor
from clapas.evaluate.config import EvaluationConfig
from clapas.loader.config import DataConfig
from clapas.model.config import ComputeConfig, ModelConfig, check_compute
from clapas.model.lora_config import (
    LoraConfig,
    check_lora,
    flops_per_token,
    head_flops_per_token,
    trained_parameters,
)
from clapas.model.rope_scaling_config import check_scaling
from clapas.model.source_config import find_source, is_resolved, model_values, no_source, says_all
from clapas.recipe.courses import Course, courses_of
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.recipe.phases import Phases, phases_of
from clapas.recipe.secrets import secret_keys
from clapas.recipe.shipped import find_shipped
from clapas.recipe.typed import TypedFile, read_typed
from clapas.train.config import (
    BranchConfig,
    OptimizerConfig,
    ScheduleConfig,
    StageConfig,
    TrainConfig,
    check_optimizer,
)
from clapas.train.faults_config import FaultsConfig, check_faults
from clapas.train.telemetry_config import ProfileConfig, TelemetryConfig
from clapas.tune.config import Grpo, LanguageModelling, ObjectiveConfig, check_objective

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


READ_RUNNING_TEXT = ("language_modelling", "distillation")
"""Objectives whose data are a stream unless the recipe says otherwise: whole documents of it would be too long."""


class Recipe(TypedFile):
    """A run. `clapas train RECIPE` needs nothing else."""

    also_called: ClassVar[dict[str, str]] = {"dtype": "precision", "output_dir": "run_dir", "dataset": "data"}

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    run_dir: Path | None = None
    model: ModelConfig
    lora: LoraConfig | None = None
    objective: ObjectiveConfig = LanguageModelling()
    data: DataConfig
    compute: ComputeConfig = ComputeConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)] | None = None
    branch: BranchConfig | None = None
    precision: Precision = "fp32"
    parallel: ParallelConfig = ParallelConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    faults: FaultsConfig = FaultsConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    profile: ProfileConfig = ProfileConfig()

    @model_validator(mode="before")
    @classmethod
    def _model_begins_with_another(cls, values: Any) -> Any:
        """Take the dimensions of the model from where its weights come from, so that a resolved recipe says them.

        Of a run that has begun they stand in its folder: the source may have gone. A recipe that says them all itself
        can be planned where the source is not; its run does not start (`train.first_weights`).
        """
        model = values.get("model") if isinstance(values, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("from"), str | Path) or is_resolved(model):
            return values
        source = find_source(Path(model["from"]))
        base = source.config() if source else _model_that_ran(values)
        if base is None and says_all(model):  # to be planned where the weights are not: a start will look for them
            return values
        if base is None:
            raise ValueError(no_source(Path(model["from"])))
        return values | {"model": model_values(model, base)}

    @model_validator(mode="before")
    @classmethod
    def _examples_are_packed(cls, values: Any) -> Any:
        """Objectives that read examples read them whole: said, so that a resolved recipe says it."""
        objective, data = (values.get(key) for key in ("objective", "data")) if isinstance(values, dict) else (0, 0)
        if not isinstance(objective, dict) or not isinstance(data, dict) or data.get("packing") is not None:
            return values
        name = objective.get("name", "language_modelling")
        if name in READ_RUNNING_TEXT:
            return values
        return values | {"data": data | {"packing": "none" if name == "grpo" else "best_fit"}}

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        length, positions = self.data.sequence_length, self.model.max_position_embeddings
        if length > positions:
            raise ValueError(
                f"data.sequence_length: found {length}; at most model.max_position_embeddings, which is {positions}"
            )
        check_scaling(self.model.rope_scaling, positions)
        check_shares(self.parallel, self.model, length)
        check_precision(self.precision, self.parallel)
        check_tensor(self.parallel, self.precision, self.compute)
        check_compute(self.compute, self.model, self.parallel.zero_stage)
        check_faults(self.faults, self.parallel.zero_stage)
        check_objective(self.objective.name, self.parallel.sequence)
        if isinstance(self.objective, Grpo):
            self.objective.check(
                sequence_length=max(length, *(stage.sequence_length or 0 for stage in self.all_stages)),
                positions=positions,
                too_long=self.data.too_long,
                tensor=self.parallel.tensor,
                sequence=self.parallel.sequence,
                first=self._first_weights,
                spike_threshold=self.faults.spike.threshold if self.faults.spike else None,
            )
        zero_stage, tensor = self.parallel.zero_stage, self.parallel.tensor
        check_lora(self.lora, self.model, zero_stage, tensor, is_mup=self.optimizer.mup is not None)
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        given = [key for key in ("steps", "tokens") if getattr(self.train, key) is not None]
        if self.stages is None and not given:
            raise ValueError("train: found neither steps nor tokens; must have one of the two, or `stages`")
        if self.stages is not None and given:
            key = f"train.{given[0]}"
            raise ValueError(f"{key}: found it beside stages, which say how long the run is: leave it out ({key}=null)")
        if self.stages is not None and self.data.token_budgets is not None:
            raise ValueError("data.token_budgets: found it beside stages, each of which may have its own: say it there")
        positions = self.model.max_position_embeddings
        for number, stage in enumerate(self.stages or ()):
            length = stage.sequence_length or self.data.sequence_length
            if length > positions:
                raise ValueError(
                    f"stages[{number}].sequence_length: found {length}; "
                    f"at most model.max_position_embeddings, which is {positions}"
                )
            check_shares(self.parallel, self.model, length)
        for phase in self.phases:
            micro = phase.micro_batch_size
            if micro and phase.global_batch_size % micro:
                raise ValueError(
                    f"stages[{phase.stage}].micro_batch_size: found {micro} (its own, or train's); must divide the "
                    f"stage's global_batch_size, which is {phase.global_batch_size}"
                )
        return self

    @model_validator(mode="after")
    def _warmups_end(self) -> Recipe:
        for course in self.courses:
            warmup, steps, tokens = course.schedule.warmup_steps, course.total_steps, course.given.warmup_tokens
            if warmup >= steps:
                unit, found = ("steps", warmup) if tokens is None else ("tokens", f"{tokens}, which are {warmup} steps")
                whose = "its" if self.stages else "the run's"
                raise ValueError(f"{course.key}.warmup_{unit}: found {found}; must be under {whose} {steps} steps")
        return self

    @model_validator(mode="after")
    def _optimizer_fits(self) -> Recipe:
        schedules = {course.key: course.schedule for course in self.courses}
        check_optimizer(self.optimizer, schedules, tied=self.model.tie_word_embeddings, tensor=self.parallel.tensor)
        return self

    @property
    def _first_weights(self) -> str | None:
        """The key that says what the run begins with; None where it draws its weights."""
        if self.branch is not None:
            return "branch"
        if self.lora is not None and self.lora.from_ is not None:
            return "lora.from"
        return None if self.model.from_ is None else "model.from"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run_dir or Path("runs") / self.name

    @property
    def all_stages(self) -> tuple[StageConfig, ...]:
        """The stages; a run without any has one that differs in nothing."""
        return self.stages or (StageConfig(steps=self.train.steps, tokens=self.train.tokens),)

    @cached_property
    def phases(self) -> Phases:
        """What each step reads."""
        return phases_of(self)

    @cached_property
    def courses(self) -> tuple[Course, ...]:
        """The learning-rate schedule of each stage."""
        return courses_of(self)

    @property
    def total_steps(self) -> int:
        """The run's optimizer steps."""
        assert self.phases.total_steps is not None
        return self.phases.total_steps

    @property
    def trained_parameters(self) -> int:
        """How many numbers the optimizer steps, but for what `train.freeze` names."""
        return trained_parameters(self.model, self.lora)

    def flops_per_token(self, sequence_length: int) -> int:
        """Floating-point operations that training on one token needs (see `model.lora_config.flops_per_token`)."""
        return flops_per_token(self.model, self.lora, sequence_length)

    @property
    def head_flops_per_token(self) -> int:
        """The part of them that a position without a target is spared where only learned rows go through the head."""
        return head_flops_per_token(self.model, self.lora)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Recipe:
        """A copy with some sections exchanged, unchecked; what was derived from the old ones is derived anew."""
        copy = super().model_copy(update=update, deep=deep)
        for derived in ("phases", "courses"):
            vars(copy).pop(derived, None)
        return copy

    def place(self, key: str) -> str:
        """Where a dotted key was given, for a message: `file:line`, "command line", or the recipe's name."""
        return super().place(key) or f"recipe {self.name}"

    def identity(self, data_hash: str) -> dict[str, Any]:
        """What makes this run this run: changing any of it makes another, and a resume refuses.

        data_hash: the data plan's hash, which stands for the data wherever they lie. The length is left out: whether a
        run may be extended, or get further stages, is `train.start`'s to say.
        """
        changes: dict[str, Any] = {}
        if self.train.batch_ramp is not None:
            changes["batch_ramp"] = {str(step): batch for step, batch in self.train.batch_ramp.items()}
        if self.stages is not None:
            changes["stages"] = [stage.identity() for stage in self.stages]
        if self.train.freeze:
            changes["freeze"] = list(self.train.freeze)
        if self.train.z_loss:
            changes["z_loss"] = self.train.z_loss
        if self.objective.name != "language_modelling":
            changes["objective"] = self.objective.identity()
        if self.lora is not None:
            changes["lora"] = self.lora.identity()
        if self.branch is not None:
            changes["branch"] = {"seal": self.branch.seal}
        if self.model.from_ is not None:
            changes["from"] = {"seal": self.model.from_seal}
        return {
            "seed": self.seed,
            "model": self.model.facts(),
            "data": data_hash,
            "optimizer": self.optimizer.model_dump(mode="json"),
            "schedule": self.schedule.model_dump(mode="json"),
            "global_batch_size": self.train.global_batch_size,
            "precision": self.precision,
            **changes,
        }

    def identity_hash(self, data_hash: str) -> str:
        """SHA-256 of the identity."""
        return content_hash(self.identity(data_hash))

    def execution_hash(self, world_size: int) -> str:
        """SHA-256 of all the rest: how, where and on how many ranks the run is executed."""
        rest = self.model_dump(mode="json", exclude={"seed", "model", "lora", "optimizer", "schedule"})
        return content_hash({**rest, "world_size": world_size})

    def to_yaml(self) -> str:
        """The recipe as resolved: every value explicit; reading it gives an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _model_that_ran(values: Mapping[str, Any]) -> ModelConfig | None:
    """The model of the run in a recipe's folder, where that began with another's weights."""
    folder = Path(values.get("run_dir") or Path("runs") / str(values.get("name")))
    if not (folder / "recipe.yaml").is_file():
        return None
    model = read_typed(folder / "recipe.yaml", Recipe).model
    return model if model.from_seal else None


def read_recipe(name_or_path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """A recipe by path, or by the name of a shipped one. Raises UserError that names every mistake, or a secret."""
    recipe = read_typed(find_shipped(name_or_path, "recipes"), Recipe, overrides)
    for key, kind in secret_keys(recipe.model_dump(mode="json")).items():
        raise UserError(
            f"{key}: a secret, which the run's folder, its card and W&B would show",
            where=recipe.place(key),
            found=kind,
            way_out="leave it in the environment, where the libraries look for it, and take it out of the recipe",
        )
    return recipe
