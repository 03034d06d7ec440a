"""One rank's training engine: DeepSpeed around a model and its optimizer.

The loss handed to `backward` is a sum over this micro-batch's target tokens; it is divided by the step's global count,
so how a step is split into micro-batches and ranks changes nothing. DeepSpeed averages gradients over the ranks, hence
the factor `ranks`; its own division by the accumulation steps is turned off.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clapas.engine.deepspeed_config import deepspeed_config
from clapas.engine.ranks import Ranks
from clapas.recipe.errors import ClapasError

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

TESTED_DEEPSPEED = ("0.19.8",)
"""Releases whose private partition attributes `engine.slots` was proven against."""


class Engine:
    """A model that trains. `model(...)` runs forward; then `backward` for each micro-batch and `step` once."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, ranks: Ranks) -> None:
        self.ranks = ranks
        self.config = deepspeed_config(recipe, ranks.size)
        self._clipping = recipe.optimizer.gradient_clipping
        self._own_clipping = recipe.parallel.zero_stage == 0 and recipe.precision == "fp32"
        deepspeed = import_deepspeed()
        with contextlib.redirect_stdout(None):  # its start-up prints there, which is the user's for results
            if not deepspeed.comm.is_initialized():
                deepspeed.init_distributed(verbose=False, auto_mpi_discovery=False)
            self.deepspeed, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=self.config)
        self._undo_phantom_step()

    @property
    def base_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that steps the masters, inside DeepSpeed's."""
        return getattr(self.deepspeed.optimizer, "optimizer", self.deepspeed.optimizer)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self.deepspeed(*inputs, **named)

    def backward(self, loss_sum: torch.Tensor, target_count: float) -> None:
        """Accumulate the gradient of loss_sum / target_count. target_count: the step's targets over all ranks."""
        self.deepspeed.backward(loss_sum * (self.ranks.size / target_count), scale_wrt_gas=False)
        if not self.deepspeed.is_gradient_accumulation_boundary():
            self.deepspeed.step()

    def step(self, learning_rate: float) -> float | torch.Tensor:
        """Update the weights. Returns the gradient's global L2 norm before clipping (on a GPU not yet waited for)."""
        for group in self.base_optimizer.param_groups:
            group["lr"] = learning_rate
        norm = self._clip() if self._own_clipping else None
        self.deepspeed.step()
        return norm if norm is not None else self.deepspeed.get_global_grad_norm()

    def _clip(self) -> torch.Tensor:
        limit = self._clipping or float("inf")
        return nn.utils.clip_grad_norm_(self.deepspeed.module.parameters(), limit)

    @torch.no_grad()
    def _undo_phantom_step(self) -> None:
        """DeepSpeed without ZeRO in bf16 steps the optimizer once when it starts, which decays the weights."""
        optimizer = self.deepspeed.optimizer
        if hasattr(optimizer, "refresh_fp32_params") and hasattr(optimizer, "fp32_groups"):
            self.base_optimizer.state.clear()
            optimizer.refresh_fp32_params()


def import_deepspeed() -> Any:
    """DeepSpeed, quiet, without its start-up builds (`shm_comm` takes 80-100 s and hangs on a stale lock).

    Raises ClapasError where another release is installed than those that the checkpoint adapter was proven against.
    """
    found = importlib.metadata.version("deepspeed")
    if found not in TESTED_DEEPSPEED:
        way_out = f"pip install deepspeed=={TESTED_DEEPSPEED[-1]}"
        raise ClapasError("untested DeepSpeed", found=found, wanted=", ".join(TESTED_DEEPSPEED), way_out=way_out)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    level = logging.ERROR
    logging.getLogger("DeepSpeed").setLevel(level)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # names DeepSpeed still uses
    with contextlib.redirect_stdout(None):
        import deepspeed
        from deepspeed.ops import __compatible_ops__
        from deepspeed.utils import logger
    logger.setLevel(level)
    __compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
