"""Initial weights: each parameter from its own generator, seeded by the run's seed and the parameter's name.

So they depend neither on the order of parameters, nor on ranks, nor on which of them a rank builds: adding a layer
leaves the others' initial weights as they were.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch

from clapas.model.decoder import CausalLM

RESIDUAL_PROJECTIONS = ("self_attn.o_proj.weight", "mlp.down_proj.weight", "mlp.experts.down_proj")
"""What a layer adds to the residual stream: two terms a layer, scaled so that their sum's variance stays (GPT-2)."""


@torch.no_grad()
def initialise(model: CausalLM, seed: int, std_scale: Mapping[str, float] | None = None) -> None:
    """Set every parameter: norms to 1, biases to 0, all others normal, of standard deviation `initializer_range`.

    Projections into the residual stream get it divided by sqrt(2 * layers). Tied parameters are drawn once, under the
    first of their names. Drawn in fp32 on the CPU and rounded to the parameter's dtype, so every device gets the same.
    std_scale: parameter name -> a further factor of its standard deviation, for one that depends on the width (muP).
    """
    config = model.config
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            continue
        std = config.initializer_range * (std_scale or {}).get(name, 1.0)
        if name.endswith(RESIDUAL_PROJECTIONS):
            std /= math.sqrt(2 * config.num_hidden_layers)
        parameter.copy_(torch.randn(parameter.shape, generator=generator_of(seed, name)) * std)


def generator_of(seed: int, name: str) -> torch.Generator:
    """The generator of one parameter: seeded by the first 8 bytes of SHA-256 of `seed:name`."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))
