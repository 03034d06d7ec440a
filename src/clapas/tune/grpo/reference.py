"""The model that a policy must not leave too far behind: the weights that the run began with.

With LoRA they are in the model already, its adapters off, and cost a forward pass. Else a second model, filled from
`model.from`, stands on every rank, whole, in the run's precision.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clapas.model.lora import adapters_off
from clapas.model.source import filled_model, open_source
from clapas.tune.grpo.policy import scored
from clapas.tune.grpo.rollouts import RolloutBatch
from clapas.tune.objective import Training

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}
"""A precision -> what the reference's weights are held in."""


class Reference:
    """A frozen model. around: what it is called within."""

    def __init__(self, model: Any, around: Any = nullcontext) -> None:
        self._model, self._around = model, around

    @torch.no_grad()
    def __call__(self, batch: RolloutBatch, temperature: float) -> Tensor:
        """Log-probabilities of the batch's targets, (B, S)."""
        context: AbstractContextManager[None] = self._around()
        with context:
            return scored(self._model, batch, temperature)[0]


def open_reference(run: Training) -> Reference:
    """The run's reference model. Raises UserError where `model.from` is not the model that it was."""
    if run.recipe.lora is not None:
        return Reference(run.engine, partial(adapters_off, run.engine.deepspeed.module))
    model = run.recipe.model
    assert model.from_ is not None, "`Grpo.check` has seen to it"
    source = open_source(model.from_, run.ranks)
    frozen = filled_model(model, source, DTYPES[run.recipe.precision], run.ranks.device)
    return Reference(frozen.eval().requires_grad_(False))
