"""The shapes of decoder that the tests go through, with weights lively enough that a mistake shows in the logits."""

from __future__ import annotations

from collections.abc import Callable
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
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
EXPERTS = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 28,
    "router_aux_loss_coef": 0.0,  # the loss alone; test_experts.py looks at the balance term
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
    "positions interpolated": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "positions as Llama 3.1": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
        "head_dim": 32,
    },
    "positions by YaRN": {"rope_scaling": YARN, "head_dim": 32},
    "YaRN, every key": {
        "rope_scaling": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.5, "truncate": False},
        "architecture": "qwen3",
    },
    "Qwen2": {"architecture": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "Qwen3": {"architecture": "qwen3", "num_key_value_heads": 2, "head_dim": 20},
    "Qwen3, heads that do not divide": {
        "architecture": "qwen3",
        "num_attention_heads": 5,
        "head_dim": 8,
        "tie_word_embeddings": True,
    },
    "experts": {"architecture": "qwen3_moe", "num_key_value_heads": 2, **EXPERTS},
    "experts, one a token, weights as they are": {
        "architecture": "qwen3_moe",
        **EXPERTS,
        "num_experts_per_tok": 1,
        "norm_topk_prob": False,
        "tie_word_embeddings": True,
    },
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


def fill_from(tensor_of: Callable[[str], torch.Tensor]) -> Callable[[str, int, torch.Tensor], None]:
    """What `write_weights` asks for, of whole tensors by name."""

    def fill(name: str, offset: int, out: torch.Tensor) -> None:
        out.copy_(tensor_of(name).detach().reshape(-1)[offset : offset + out.numel()])

    return fill
