"""How the decoder is computed: what is kept for the backward pass, and what is compiled. No result changes.

Full checkpointing keeps the input of each layer and computes the layer again (Chen et al., 2016). Selective
checkpointing also keeps what is dear to compute and cheap to hold, the matrix products of the projections and fused
attention, and computes again only what lies between them: norms, rotary positions, SwiGLU.

One layer is compiled and its code runs for all: compiling the whole model would take as many times longer. The
checkpointing is inside, where the compiler sees what it may keep.
"""

from __future__ import annotations

import functools
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from clapas.model.config import ComputeConfig
from clapas.model.decoder import MLP, CausalLM, Context, RunLayer, run_layer
from clapas_kernels import use

ATEN = torch.ops.aten
DEAR = frozenset(
    {
        ATEN.mm.default,
        ATEN.addmm.default,
        ATEN._scaled_dot_product_flash_attention.default,
        ATEN._scaled_dot_product_flash_attention_for_cpu.default,
        ATEN._scaled_dot_product_efficient_attention.default,
        ATEN._scaled_dot_product_cudnn_attention.default,
    }
)
"""What selective checkpointing keeps. Batched products (`bmm`) are the scores of short attention: dear to hold."""


def apply_compute(model: CausalLM, compute: ComputeConfig) -> None:
    """Make a model compute as the recipe's section says."""
    run = _runner(compute.activation_checkpointing)
    if compute.compile:
        run = torch.compile(run, dynamic=False)  # a training run has few shapes
    model.model.run_layer = run
    for module in model.modules():
        if isinstance(module, MLP):
            module.tile = compute.tiled_mlp


def kernels(compute: ComputeConfig) -> AbstractContextManager[None]:
    """Within, the operations run as the recipe's section says."""
    return use("reference") if compute.kernels == "reference" else nullcontext()


def show_chosen_kernels() -> None:
    """Have stderr say, once each, which of several kernels an operation has chosen and why (document masks, fp8)."""
    log = logging.getLogger("clapas_kernels")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())


def _runner(kind: Literal["none", "selective", "full"]) -> RunLayer:
    """What calls a layer, and calls it again in the backward pass where `kind` says so."""
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # nothing in a layer is random
    if kind == "selective":
        options["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _policy)

    def run(layer: nn.Module, x_BSE: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        return checkpoint(layer, x_BSE, context, **options)

    return run_layer if kind == "none" else run


def _policy(_: Any, operation: Any, *inputs: Any, **named: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in DEAR else CheckpointPolicy.PREFER_RECOMPUTE
