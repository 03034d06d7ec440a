"""One rank's training engine: DeepSpeed around a model and its optimizer.

The loss handed to `backward` is a sum over this micro-batch's target tokens; it is divided by the step's global count,
so how a step is split into micro-batches and ranks changes nothing. DeepSpeed averages gradients over the ranks that
hold the same weights, hence the factor `peer_size`; its own division by the accumulation steps is turned off.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clapas.engine.averaging import averaged
from clapas.engine.deepspeed_config import Device, check_device, deepspeed_config
from clapas.engine.gloo import use_direct_collectives
from clapas.engine.gradient_norm import gradient_norm
from clapas.engine.groups import sequence_group
from clapas.engine.installed import check_deepspeed
from clapas.engine.loss_scale import LOWEST, LossScale
from clapas.engine.ranks import Ranks
from clapas.engine.sequence_parallel import share_sequences
from clapas.engine.update_guard import Accepts, UpdateGuard
from clapas.model.lora_config import is_adapter
from clapas.recipe.errors import ClapasError

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe


class Engine:
    """A model that trains. `model(...)` runs forward; then `backward` for each micro-batch and `step` once.

    config: DeepSpeed's configuration. loss_scale: in fp16, else None.
    was_skipped: whether the last step left the weights as they were: a gradient was not finite, or it was refused.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, ranks: Ranks) -> None:
        self.ranks = ranks
        device = "cuda" if ranks.device.type == "cuda" else "cpu"
        check_device(recipe, device)
        self.config = deepspeed_config(recipe, ranks.size, device)
        self.was_skipped = False
        self._has_adapters = recipe.lora is not None
        self._clipping = recipe.optimizer.gradient_clipping
        self._own_clipping = recipe.parallel.zero_stage == 0 and recipe.precision == "fp32"
        deepspeed = open_communication(device)
        with contextlib.redirect_stdout(io.StringIO()):  # its start-up prints there, which is the user's for results
            if ranks.sequence > 1:
                share_sequences(model, sequence_group(ranks.layout, ranks.rank))
            self.deepspeed, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=self.config)
        self._undo_phantom_step()
        if ranks.peer_size == 1 and type(self.deepspeed.optimizer).__name__ == "BF16_Optimizer":
            self.deepspeed.enable_backward_allreduce = False  # it would copy every gradient twice to average it alone
        self.loss_scale = LossScale(self.deepspeed.optimizer) if recipe.precision == "fp16" else None
        self._scales_loss = self.loss_scale is not None and self.loss_scale.by_engine
        self._guard = None
        if recipe.faults.spike is not None and not self._own_clipping:
            self._guard = UpdateGuard(self.base_optimizer, self.deepspeed.optimizer)

    @property
    def base_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer that steps the masters, inside DeepSpeed's."""
        return getattr(self.deepspeed.optimizer, "optimizer", self.deepspeed.optimizer)

    def saves(self, name: str) -> bool:
        """Whether a checkpoint holds a parameter: of a run with adapters these alone, for their base stays as it is."""
        return is_adapter(name) or not self._has_adapters

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self.deepspeed(*inputs, **named)

    def set_batch(self, global_batch_size: int, micro_batches: int) -> None:
        """Say what the next step reads: its samples over all ranks, and in how many micro-batches of this rank.

        DeepSpeed finds a step's last micro-batch by counting them, all as many as its configuration says; so a border
        between two batch sizes is a change of that, and its count must go on from a whole number of the new steps.
        """
        inner = self.deepspeed
        if inner.gradient_accumulation_steps() != micro_batches:
            inner._config.gradient_accumulation_steps = micro_batches
            inner.micro_steps = inner.global_steps * micro_batches
            if hasattr(inner.optimizer, "gradient_accumulation_steps"):  # a copy, which offloading reads
                inner.optimizer.gradient_accumulation_steps = micro_batches
        inner._config.train_batch_size = global_batch_size
        inner._config.train_micro_batch_size_per_gpu = global_batch_size // (self.ranks.data_size * micro_batches)

    def backward(self, loss_sum: torch.Tensor, target_count: float) -> None:
        """Accumulate the gradient of loss_sum / target_count. target_count: the step's targets over all ranks."""
        factor = self.ranks.peer_size / target_count
        if self.loss_scale and self._scales_loss:
            factor *= self.loss_scale.value
        self.deepspeed.backward(loss_sum * factor, scale_wrt_gas=False)
        if not self.deepspeed.is_gradient_accumulation_boundary():
            self.deepspeed.step()

    def step(self, learning_rate: float, accepts: Accepts | None = None) -> float:
        """Update the weights. Returns the gradient's global L2 norm before clipping; infinity where it is not finite.

        accepts: may refuse the update, once the norm is known; for recipes with `faults.spike`.
        Raises ClapasError where gradients overflow fp16 even unscaled.
        """
        for group in self.base_optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_scale", 1.0)
        norm = self._clip(accepts) if self._own_clipping else None
        scale = self.loss_scale.value if self.loss_scale else 1.0
        left_scale = scale if self._scales_loss else 1.0  # what DeepSpeed leaves in the norm
        if self._guard:
            self._guard.begin(accepts, left_scale)
        self.deepspeed.step()
        if norm is None:
            norm = float(self.deepspeed.get_global_grad_norm()) / left_scale
            self.was_skipped = not self.deepspeed.was_step_applied()
        if self.was_skipped and self.loss_scale and scale <= LOWEST:
            raise ClapasError(
                "gradients overflow fp16 even at a loss scale of 1",
                found=f"{self.deepspeed.skipped_steps} skipped steps",
                way_out="lower optimizer.lr, or precision=bf16 where the hardware has it",
            )
        if self._guard and self._guard.refused:  # no overflow: the scale stays as it is
            self.was_skipped = True
            self.deepspeed.skipped_steps += 1
        return norm

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model computes with its averaged weights, where there are any (see `engine.averaging`)."""
        return averaged(self)

    def _clip(self, accepts: Accepts | None) -> float:
        """Clip the gradient. Without ZeRO, torch's optimizer would take a step of NaN: then it gets no gradient."""
        parameters = list(self.deepspeed.module.parameters())
        norm = gradient_norm(parameters, self.ranks)
        self.was_skipped = not math.isfinite(norm) or (accepts is not None and not accepts(norm))
        if self.was_skipped:
            self.deepspeed.skipped_steps += 1
            self.deepspeed.zero_grad()
            return norm if math.isfinite(norm) else math.inf
        if self._clipping:
            nn.utils.clip_grads_with_norm_(parameters, self._clipping, torch.tensor(norm, device=self.ranks.device))
        return norm

    @torch.no_grad()
    def _undo_phantom_step(self) -> None:
        """DeepSpeed without ZeRO in 16 bits steps the optimizer once when it starts, which decays the weights."""
        optimizer = self.deepspeed.optimizer
        if hasattr(optimizer, "refresh_fp32_params") and hasattr(optimizer, "fp32_groups"):
            self.base_optimizer.state.clear()
            optimizer.refresh_fp32_params()


def open_communication(device: Device) -> Any:
    """DeepSpeed, ready to send between the ranks."""
    deepspeed = import_deepspeed()
    with contextlib.redirect_stdout(io.StringIO()):
        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed(verbose=False, auto_mpi_discovery=False)
    if device == "cpu":
        use_direct_collectives()
    return deepspeed


def import_deepspeed() -> Any:
    """DeepSpeed, quiet, without its start-up builds (`shm_comm` takes 80-100 s and hangs on a stale lock).

    Nor does it find out which of its operations could be built: for that every rank would start a compiler and a
    linker, and load setuptools. It asks for one of them at start-up, and is told.

    Raises as `check_deepspeed`.
    """
    check_deepspeed()
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    level = logging.ERROR
    logging.getLogger("DeepSpeed").setLevel(level)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # names DeepSpeed still uses
    with contextlib.redirect_stdout(io.StringIO()):
        import deepspeed
        import deepspeed.ops
        from deepspeed.accelerator import get_accelerator
        from deepspeed.utils import logger
    logger.setLevel(level)
    if not torch.cuda.is_available():
        accelerator: Any = get_accelerator()
        accelerator.is_fp16_supported = lambda: True  # it asks whether a CPU is fast in it; torch computes it
    deepspeed.ops.__dict__["__compatible_ops__"] = {"deepspeed_shm_comm": False}
    _import_muon_uncompiled()
    return deepspeed


def _import_muon_uncompiled() -> None:
    """DeepSpeed's Muon, which it imports whatever the optimizer, without `torch.compile` around its kernels.

    Decorating them loads the whole compiler, 1.3 s at every start; our Muon is another (decision 053).
    """
    from deepspeed.runtime import compiler

    original = compiler.compile
    compiler.compile = lambda **_: lambda kernel: kernel
    try:
        import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401
    finally:
        compiler.compile = original
