"""The shapes of decoder that the tests go through, with weights lively enough that a mistake shows in the logits."""

from __future__ import annotations

from typing import Any

import torch

from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise

COMMON: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 100,
    "vocab_size": 211,
    "max_position_embeddings": 64,
}
SHAPES: dict[str, dict[str, Any]] = {
    "a key-value head each": {},
    "shared key-value heads": {"num_key_value_heads": 2},
    "one key-value head": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "odd sizes": {"hidden_size": 42, "num_attention_heads": 3, "intermediate_size": 67, "vocab_size": 103},
    "wide heads, shared": {"head_dim": 20, "num_key_value_heads": 2},
    "narrow heads": {"head_dim": 6},
    "another rope_theta": {"rope_theta": 500_000.0},
    "another epsilon": {"rms_norm_eps": 1e-3},
    "long": {"max_position_embeddings": 640, "num_hidden_layers": 1, "num_key_value_heads": 2},
}
LIVELY = 0.15
"""Initial standard deviation: at 0.02 attention is all but uniform and hides mistakes of position."""


def config_of(shape: str = "shared key-value heads", **changes: Any) -> ModelConfig:
    """A shape by its name."""
    return ModelConfig(**{**COMMON, **SHAPES[shape], "initializer_range": LIVELY, **changes})


def model_of(config: ModelConfig, seed: int = 1) -> CausalLM:
    """A decoder whose norms are not all ones."""
    model = CausalLM(config)
    initialise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def tokens_of(config: ModelConfig, batch: int = 2, length: int | None = None) -> torch.Tensor:
    """Random tokens, by default as long as the model takes."""
    shape = batch, length or config.max_position_embeddings
    return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(3))
