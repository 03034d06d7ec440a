"""The dimensions of a model under GGUF's keys, for each architecture; and which models no GGUF can say.

The keys are those of the GGUF specification; what llama.cpp makes of them, and which it does not read (b9000 and
later, `src/llama-model.cpp` and `src/models/`), decides what is refused: a key that is not read is a model that
computes something else without a word.
"""

from __future__ import annotations

import math
from pathlib import Path

from clapas.model.config import Architecture, ModelConfig
from clapas.model.rope_scaling_config import LinearScaling, Llama3Scaling, NtkScaling, YarnScaling
from clapas.recipe.errors import UserError
from clapas.release.gguf.about import Value

NAMES: dict[Architecture, str] = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe"}
"""Architecture -> `general.architecture`."""


def architecture_fields(config: ModelConfig) -> dict[str, Value]:
    """The keys that say how to compute a model: each is written, for what is missing a reader makes up."""
    values: dict[str, Value] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        **_rope(config),
    }
    if experts := config.experts:
        values["expert_count"] = experts.count
        values["expert_used_count"] = experts.per_token
        values["expert_feed_forward_length"] = experts.width
    name = NAMES[config.architecture]
    return {"general.architecture": name, **{f"{name}.{key}": value for key, value in values.items()}}


def _rope(config: ModelConfig) -> dict[str, Value]:
    """How positions turn. Llama 3.1's scaling has no keys, but a tensor: see `tensors.rope_factors`."""
    theta, scaling = config.rope_theta, config.rope_scaling
    if isinstance(scaling, NtkScaling):
        theta = scaling.theta(theta, config.head_dim)
    values: dict[str, Value] = {"rope.dimension_count": config.head_dim, "rope.freq_base": theta}
    match scaling:
        case LinearScaling(factor=factor):
            values |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
        case YarnScaling() as yarn:
            values |= {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": yarn.factor,
                "rope.scaling.original_context_length": yarn.original_max_position_embeddings,
            }
            if yarn.attention_factor is not None:  # llama.cpp multiplies by it what it takes by itself
                values["rope.scaling.attn_factor"] = yarn.attention_factor / (0.1 * math.log(yarn.factor) + 1.0)
        case _:
            values["rope.scaling.type"] = "none"
    return values


def refuse_what_no_gguf_says(config: ModelConfig, where: Path) -> None:
    """Raise UserError for a model that llama.cpp would load and compute otherwise, or not load."""
    if problems := list(_problems(config)):
        raise UserError(
            "this model cannot be said in GGUF as llama.cpp reads it",
            where=where,
            found="; ".join(problems),
            way_out="leave --gguf out; the Hugging Face folder holds this model exactly",
        )


def _problems(config: ModelConfig) -> list[str]:
    problems: list[str] = []
    scaling, width = config.rope_scaling, config.num_attention_heads * config.head_dim
    if isinstance(scaling, Llama3Scaling) and config.architecture != "llama":
        problems.append(f"rope_scaling llama3 in {config.architecture}, where only linear and yarn are read")
    if isinstance(scaling, YarnScaling):
        if (scaling.beta_fast, scaling.beta_slow) != (32.0, 1.0):
            problems.append(
                f"yarn with beta_fast {scaling.beta_fast:g} and beta_slow {scaling.beta_slow:g}, not 32 and 1"
            )
        if not scaling.truncate:
            problems.append("yarn with truncate: false")
    if config.architecture == "qwen2" and width != config.hidden_size:
        problems.append(f"qwen2 with heads of {width} in all and hidden_size {config.hidden_size}")
    if config.experts and not config.experts.normalised:
        problems.append("norm_topk_prob: false")
    return problems
