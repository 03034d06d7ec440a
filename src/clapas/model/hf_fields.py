"""The fields of Hugging Face's `config.json` that we know, what they must hold, and what a missing one stands for.

Kept from transformers' config classes and from the files of the models in docs/import.md. No torch.
"""

from __future__ import annotations

from typing import Any

from clapas.model.config import Architecture

CLASSES: dict[Architecture, str] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
"""Architecture, which is Hugging Face's `model_type` -> transformers' class of it."""
READ_AS: dict[str, Architecture] = {**{name: name for name in CLASSES}, "mistral": "llama"}
"""Hugging Face's `model_type` -> the architecture that computes the same. A Mistral without its window is a Llama."""
REFUSED = {"smollm3": "every fourth layer has no rotary positions (NoPE)"}
"""`model_type` -> why it is none of them, where that is easily overlooked."""

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
"""The fields that have the same name and meaning on both sides; with experts also config.EXPERT_KEYS."""

_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "attention_dropout": (0.0, 0),
}
_UNSLID = {"use_sliding_window": (False,)}
FIXED: dict[Architecture, dict[str, tuple[Any, ...]]] = {
    "llama": {**_FIXED, "pretraining_tp": (1,)},
    "qwen2": {**_FIXED, "attention_bias": (True,), **_UNSLID},  # of queries, keys and values
    "qwen3": {**_FIXED, **_UNSLID},
    "qwen3_moe": {**_FIXED, **_UNSLID, "decoder_sparse_step": (1,), "mlp_only_layers": ([], None)},
}
"""What the decoder computes in one way only: the values that mean that way. The first is the one that is written."""
_FIXED_WHERE_SAID = {"quantization_config": (None,), "partial_rotary_factor": (1.0, None)}
FIXED_WHERE_SAID: dict[Architecture, dict[str, tuple[Any, ...]]] = {
    **dict.fromkeys(CLASSES, _FIXED_WHERE_SAID),
    "llama": {**_FIXED_WHERE_SAID, "rope_interleaved": (False,)},  # SmolLM2's
    "qwen2": {**_FIXED_WHERE_SAID, "use_mrope": (False, None)},  # Qwen2.5's
}
"""The same for fields that we do not write, and that some files have."""

_DEFAULTS: dict[str, Any] = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "initializer_range": 0.02}
TRANSFORMERS_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {**_DEFAULTS, "num_key_value_heads": None, "head_dim": None, "max_position_embeddings": 2048},
    "mistral": {**_DEFAULTS, "num_key_value_heads": 8, "head_dim": None, "max_position_embeddings": 131_072},
    "qwen2": {**_DEFAULTS, "num_key_value_heads": 32, "head_dim": None, "max_position_embeddings": 32_768},
    "qwen3": {**_DEFAULTS, "num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32_768},
    "qwen3_moe": {
        **_DEFAULTS,
        "num_key_value_heads": 4,
        "head_dim": None,
        "max_position_embeddings": 32_768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "norm_topk_prob": False,
        "router_aux_loss_coef": 0.001,
    },
}
"""What transformers takes a missing field for (its config classes, 5.23). None: follows from others."""

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
cross_attention_hidden_size model_type rope_scaling max_window_layers output_router_logits is_llama_config
transformers.js_config _attn_implementation_autoset
"""
KINDS: dict[str, tuple[type, ...]] = {
    "model_type": (str,),
    "rope_theta": (int, float),
    "rope_scaling": (dict,),
    "rope_parameters": (dict,),
    "num_hidden_layers": (int,),
    "max_position_embeddings": (int,),
    "sliding_window": (int,),
    "tie_word_embeddings": (bool,),
    "norm_topk_prob": (bool,),
    "auto_map": (dict,),
}
"""What is in the fields that are computed with before all are checked together, and in those where text would be read
as another kind; null stands for missing."""
UNPADDED = "unpadded_vocab_size"
"""Our own field, where rows of the vocabulary are kept that no token has: how many have one. Readers keep it silently.
"""
WITHOUT_EFFECT = frozenset([*_NAMES.split(), UNPADDED])
"""Fields that leave the logits as they are, or that are looked at on their own (the rotary ones, model_type)."""
