"""The recipe's sections that the training loop reads: length, optimizer, schedule, telemetry."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from clapas.recipe.typed import Section

Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Section):
    """How long, and in which batches.

    steps or tokens: the length of the run, in optimizer steps or in training tokens (rounded up to a step).
    global_batch_size: samples of `data.sequence_length` tokens in one optimizer step, over all ranks.
    micro_batch_size: samples that one rank holds at once; by default its whole share of the global batch.
    threads: CPU threads of one rank; by default the machine's cores shared among its ranks.
    """

    also_called: ClassVar[dict[str, str]] = {
        "batch_size": "global_batch_size",
        "per_device_train_batch_size": "micro_batch_size",
        "train_batch_size": "global_batch_size",
        "max_steps": "steps",
        "train_iters": "steps",
        "max_tokens": "tokens",
    }

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    global_batch_size: PositiveInt
    micro_batch_size: PositiveInt | None = None
    threads: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if (self.steps is None) == (self.tokens is None):
            given = "neither" if self.steps is None else "both"
            raise ValueError(f"steps and tokens: {given} given; give one of the two")
        if self.micro_batch_size is not None and self.global_batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide global_batch_size {self.global_batch_size}"
            )
        return self

    def total_steps(self, sequence_length: int) -> int:
        """The run's optimizer steps."""
        if self.steps is not None:
            return self.steps
        assert self.tokens is not None
        return math.ceil(self.tokens / (self.global_batch_size * sequence_length))


class OptimizerConfig(Section):
    """AdamW (Loshchilov & Hutter, 2019). Weight decay acts on matrices only, never on norms.

    gradient_clipping: largest global L2 norm of the gradient; 0 turns clipping off.
    """

    also_called: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "max_grad_norm": "gradient_clipping",
        "grad_clip": "gradient_clipping",
        "epsilon": "eps",
        "adam_epsilon": "eps",
        "type": "name",
    }

    name: Literal["adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 3e-4
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    gradient_clipping: Annotated[float, Field(ge=0)] = 1.0


class ScheduleConfig(Section):
    """The learning rate over a run, as a share of `optimizer.lr`.

    cosine: linear warm-up, then half a cosine down to `min_lr_ratio` at the last step.
    wsd: linear warm-up, stable, then a linear decay over the last `decay_ratio` of the run (Hu et al., 2024, MiniCPM).
    """

    also_called: ClassVar[dict[str, str]] = {"warmup": "warmup_steps", "min_lr": "min_lr_ratio", "type": "name"}

    name: Literal["cosine", "wsd"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    min_lr_ratio: Share = 0.1
    decay_ratio: Share | None = None  # by default DECAY_RATIO where it has a meaning

    @model_validator(mode="after")
    def _decay_belongs_to_wsd(self) -> ScheduleConfig:
        if self.name != "wsd" and self.decay_ratio is not None:
            raise ValueError(f"decay_ratio: has no meaning with name: {self.name}; it belongs to wsd")
        return self


DECAY_RATIO = 0.2
"""The share of a WSD run that decays by default: 10 to 20 % suffice (Hägele et al., 2024)."""


class TelemetryConfig(Section):
    """What is told while training. log_every: steps between two rows of metrics.jsonl; wandb: off, or into wandb/."""

    log_every: PositiveInt = 1
    wandb: Literal["offline", "online"] | None = None
    wandb_project: str = "clapas"
