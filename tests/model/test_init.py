"""Initial weights depend on the seed and the parameter's name, and on nothing else."""

from __future__ import annotations

import math
from typing import Any

import torch

from clapas.model.build import empty_model
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from model.shapes import config_of


def initial(seed: int = 0, **changes: Any) -> dict[str, torch.Tensor]:
    """The initial weights of a shape."""
    model = CausalLM(config_of(**changes))
    initialise(model, seed)
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_weights_depend_on_seed_and_name_alone() -> None:
    """The global generator plays no part; another seed gives others; a further layer leaves the rest as they were."""
    first = initial()
    torch.manual_seed(99)
    again, other, deeper = initial(), initial(seed=1), initial(num_hidden_layers=4)
    for name, weight in first.items():
        assert torch.equal(weight, again[name])
        assert weight.ndim == 1 or not torch.equal(weight, other[name])
        if not name.endswith(("o_proj.weight", "down_proj.weight")):
            assert torch.equal(weight, deeper[name])


def test_no_two_parameters_are_alike() -> None:
    """Equal shapes, different names, different weights."""
    weights = initial()
    assert not torch.equal(
        weights["model.layers.0.mlp.gate_proj.weight"], weights["model.layers.1.mlp.gate_proj.weight"]
    )


def test_standard_deviations() -> None:
    """initializer_range everywhere, divided by sqrt(2 L) into the residual stream; norms begin as 1."""
    weights = initial(hidden_size=256, intermediate_size=512, initializer_range=0.02)
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert (weight == 1).all()
        else:
            scale = math.sqrt(6) if name.endswith(("o_proj.weight", "down_proj.weight")) else 1
            assert abs(weight.std().item() * scale / 0.02 - 1) < 0.03, name


def test_lower_precision_rounds_the_same_draws() -> None:
    """A bf16 model begins as the fp32 model rounded."""
    model = CausalLM(config_of()).bfloat16()
    initialise(model, 0)
    for name, weight in initial().items():
        assert torch.equal(model.get_parameter(name), weight.bfloat16())


def test_an_empty_model_keeps_its_ties() -> None:
    """A tied head is the embedding itself, also in a model made to be filled."""
    model = empty_model(config_of("tied"), torch.float32)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())


def test_a_parameter_may_be_drawn_wider_or_narrower() -> None:
    """A factor by name scales that parameter's draw and no other."""
    model, name = CausalLM(config_of()), "model.layers.1.self_attn.q_proj.weight"
    initialise(model, 0, std_scale={name: 0.25})
    for other, parameter in model.named_parameters():
        assert torch.equal(parameter, initial()[other] * (0.25 if other == name else 1.0)), other
