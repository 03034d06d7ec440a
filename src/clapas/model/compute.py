"""How the decoder is computed: what the forward pass keeps for the backward pass. The results are the same bits.

Full checkpointing keeps the input of each layer and computes the layer again (Chen et al., 2016). Selective
checkpointing also keeps what is dear to compute and cheap to hold, the matrix products of the projections and fused
attention, and computes again only what lies between them: norms, rotary positions, SwiGLU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from clapas.model.config import ComputeConfig
from clapas.model.decoder import CausalLM

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
    run = checkpointed(compute.activation_checkpointing)
    if run is not None:
        model.model.run_layer = run


def checkpointed(kind: str) -> Callable[..., Any] | None:
    """(module, inputs) -> the module's output, computed again in the backward pass; None where it is kept as it is."""
    if kind == "none":
        return None
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # nothing in a layer is random
    if kind == "selective":
        options["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _policy)
    return functools.partial(checkpoint, **options)


def _policy(_: Any, operation: Any, *inputs: Any, **named: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in DEAR else CheckpointPolicy.PREFER_RECOMPUTE
