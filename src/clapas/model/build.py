"""From the recipe's sections to a decoder."""

from __future__ import annotations

import torch

from clapas.model.compute import apply_compute
from clapas.model.config import ComputeConfig, ModelConfig
from clapas.model.decoder import CausalLM


def build_model(config: ModelConfig, compute: ComputeConfig = ComputeConfig()) -> CausalLM:  # noqa: B008 frozen
    """A decoder on the CPU, computed as `compute` says. Its weights wait for `init.initialise` or `hf_weights`."""
    model = CausalLM(config)
    apply_compute(model, compute)
    return model


def empty_model(config: ModelConfig, dtype: torch.dtype, device: torch.device | str = "cpu") -> CausalLM:
    """A model whose parameters hold nothing yet, for weights that are about to be read: nothing is drawn in vain."""
    with torch.device("meta"):
        model = CausalLM(config)
    model.to(dtype).to_empty(device=device)
    model.tie()  # leaving the meta device gave each name a tensor of its own
    return model


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every parameter's shape, in the model's order; a tied head is not one."""
    with torch.device("meta"):
        model = CausalLM(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
