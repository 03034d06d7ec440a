"""Hugging Face's `config.json` and `generation_config.json`, from our config and back. No torch.

Every field is written out: what a reader does not find it makes up, and readers differ (`rope_theta` alone is read by
transformers 4, vLLM and llama.cpp, `rope_parameters` alone by transformers 5, and neither complains).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic

from clapas.model.config import ModelConfig
from clapas.recipe.errors import UserError

Dtype = Literal["float32", "bfloat16", "float16"]

DIMENSIONS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "head_dim",
    "initializer_range",
)
"""The fields that have the same name and meaning on both sides."""

FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),
    "attention_dropout": (0.0, 0),
    "mlp_bias": (False,),
    "pretraining_tp": (1,),
    "rope_scaling": (None,),
    "quantization_config": (None,),
}
"""What the decoder computes in one way only: the values that mean that way. The first is the one that is written."""

WRITTEN = ("model_type", "hidden_act", "attention_bias", "attention_dropout", "mlp_bias", "pretraining_tp")

TRANSFORMERS_DEFAULTS: dict[str, Any] = {
    "num_key_value_heads": None,
    "head_dim": None,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
}
"""What transformers takes a missing field of a Llama config for (`LlamaConfig`, 5.23). None: follows from others."""

_NAMES = """
architectures auto_map bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id cls_token_id
torch_dtype dtype use_cache transformers_version _name_or_path name_or_path _attn_implementation rope_theta
rope_parameters return_dict return_dict_in_generate output_attentions output_hidden_states torchscript use_bfloat16
pruned_heads chunk_size_feed_forward is_decoder id2label label2id problem_type num_labels finetuning_task
task_specific_params tokenizer_class prefix tf_legacy_loss unsloth_version unsloth_fixed max_length min_length
do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p
repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
output_scores forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty
suppress_tokens begin_suppress_tokens is_encoder_decoder add_cross_attention tie_encoder_decoder
cross_attention_hidden_size
"""
WITHOUT_EFFECT = frozenset(_NAMES.split())
"""Fields that leave the logits as they are, or that are looked at on their own (the rotary ones)."""


def to_hf_config(config: ModelConfig, *, eos: int, bos: int | None, pad: int | None, dtype: Dtype) -> dict[str, Any]:
    """`config.json` of an exported model. eos, bos, pad: the tokenizer's ids; dtype: of the weights as written."""
    return {
        "architectures": ["LlamaForCausalLM"],
        **{key: FIXED[key][0] for key in WRITTEN},
        **{key: getattr(config, key) for key in DIMENSIONS},
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def generation_config(*, eos: int, bos: int | None, pad: int | None) -> dict[str, Any]:
    """`generation_config.json`: where a text ends. No length: transformers warns of one at every call."""
    return {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "do_sample": False}


def from_hf_config(fields: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """Our config of a Hugging Face model. Raises UserError that names each field that we would not compute exactly."""
    problems = _what_differs(fields)
    values: dict[str, Any] = {}
    for key in DIMENSIONS:
        if key not in fields and key not in TRANSFORMERS_DEFAULTS:
            problems.append(f"{key}: missing")
        values[key] = fields.get(key, TRANSFORMERS_DEFAULTS.get(key))
    if problems:
        way_out = (
            "convert or choose a model that is a plain Llama: `model_type` llama, no biases, default rotary positions"
        )
        raise UserError(
            "this model cannot be represented exactly", where=where, found="; ".join(problems), way_out=way_out
        )
    try:
        return ModelConfig(**values, rope_theta=_rope_theta(fields))
    except pydantic.ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors()
        )
        raise UserError("not a model's config", where=where, found=found) from None


def _what_differs(fields: Mapping[str, Any]) -> list[str]:
    """The fields that ask for another computation than ours, each with what it holds."""
    problems = [
        f"{key}: {value!r}, not {allowed[0]!r}"
        for key, allowed in FIXED.items()
        if (value := fields.get(key, allowed[0])) not in allowed and not _is_default_scaling(key, value)
    ]
    known = {*DIMENSIONS, *FIXED, *WITHOUT_EFFECT}
    problems += [f"{key}: unknown here" for key in fields if key not in known]
    parameters = fields.get("rope_parameters") or {}
    if not _is_default_scaling("rope_scaling", parameters):
        problems.append(f"rope_parameters: {parameters!r}, not rope_type default")
    thetas = {float(source["rope_theta"]) for source in (fields, parameters) if source.get("rope_theta") is not None}
    if len(thetas) > 1:
        problems.append(f"rope_theta {fields['rope_theta']} and rope_parameters.rope_theta {parameters['rope_theta']}")
    return problems


def _is_default_scaling(key: str, value: Any) -> bool:
    """Whether rotary parameters say, in so many words, that nothing is scaled."""
    if key != "rope_scaling" or not isinstance(value, Mapping):
        return False
    kind = value.get("rope_type", value.get("type", "default"))
    return (
        kind == "default"
        and value.get("partial_rotary_factor", 1.0) == 1.0
        and set(value) <= {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
    )


def _rope_theta(fields: Mapping[str, Any]) -> float:
    """As transformers 5 reads it: `rope_parameters`, then `rope_theta`, then 10,000."""
    for source in (fields.get("rope_parameters") or {}, fields.get("rope_scaling") or {}, fields):
        if source.get("rope_theta") is not None:
            return float(source["rope_theta"])
    return 10_000.0
