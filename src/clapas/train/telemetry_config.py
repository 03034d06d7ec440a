"""The recipe's sections on what is told and recorded of a run while it trains."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from clapas.recipe.typed import Section


class TelemetryConfig(Section):
    """What is told while training (docs/telemetry.md).

    log_every: steps between two rows of metrics.jsonl.
    norms_every: steps between two measures of the norms of weights and activations; a multiple of log_every. By
    default they are not measured.
    wandb: off, or Weights & Biases into RUN/wandb/; offline, `wandb sync` sends it later.
    tensorboard: whether rows also go to RUN/tensorboard/.
    """

    also_called: ClassVar[dict[str, str]] = {"logging_steps": "log_every", "log_interval": "log_every"}

    log_every: PositiveInt = 1
    norms_every: PositiveInt | None = None
    wandb: Literal["offline", "online"] | None = None
    wandb_project: str = "clapas"
    tensorboard: bool = False

    @model_validator(mode="after")
    def _norms_have_a_row(self) -> TelemetryConfig:
        if self.norms_every is not None and self.norms_every % self.log_every:
            nearest = -(-self.norms_every // self.log_every) * self.log_every
            raise ValueError(
                f"norms_every: found {self.norms_every}; must be a multiple of log_every, which is {self.log_every}: "
                f"{nearest}"
            )
        return self

    def norms_at(self, step: int) -> bool:
        """Whether norms of weights and activations are measured at a step."""
        return self.norms_every is not None and step % self.norms_every == 0


Window = tuple[PositiveInt, PositiveInt]


class ProfileConfig(Section):
    """Steps to record with torch.profiler, as Chrome traces in RUN/profile/.

    steps: `[first, last]`, both recorded, or a list of such windows. By default nothing is.
    ranks: which ranks record. memory: whether allocations are recorded too.
    """

    steps: tuple[Window, ...] = ()
    ranks: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    memory: bool = False

    @field_validator("steps", mode="before")
    @classmethod
    def _one_window(cls, steps: Any) -> Any:
        is_window = isinstance(steps, (list, tuple)) and steps and all(isinstance(step, int) for step in steps)
        return [steps] if is_window else steps

    @field_validator("steps")
    @classmethod
    def _windows_in_order(cls, steps: tuple[Window, ...]) -> tuple[Window, ...]:
        edges = [step for window in steps for step in window]
        ordered = all(first <= last for first, last in steps)
        if not ordered or any(one[1] >= two[0] for one, two in pairwise(steps)):
            raise ValueError(f"found {edges}; must be [first, last] with first <= last, windows in order and apart")
        return steps
