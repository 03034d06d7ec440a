"""config.json: every field written, and what we would not compute exactly refused by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import transformers

from clapas.model.hf_config import from_hf_config, generation_config, to_hf_config
from clapas.recipe.errors import UserError
from model.shapes import SHAPES, config_of


def fields_of(shape: str = "shared key-value heads") -> dict[str, Any]:
    """config.json of a shape."""
    return to_hf_config(config_of(shape), eos=5, bos=6, pad=7, dtype="bfloat16")


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(shape: str) -> None:
    """What we write we read back as it was."""
    assert from_hf_config(fields_of(shape)) == config_of(shape)


def test_transformers_reads_every_field_as_written() -> None:
    """No field is dropped, renamed or made up; transformers' own Llama fields are all there."""
    fields = fields_of("another rope_theta")
    read = transformers.LlamaConfig.from_dict(fields)
    for key, value in fields.items():
        if key not in ("rope_theta", "rope_scaling", "torch_dtype", "dtype"):  # the rotary ones are rope_parameters
            assert getattr(read, key) == value, key
    assert str(read.dtype).removeprefix("torch.") == "bfloat16"
    own = set(transformers.LlamaConfig().to_diff_dict()) | set(transformers.LlamaConfig.__annotations__)
    assert own - {"model_type", "transformers_version", "keys_to_ignore_at_inference"} - set(fields) <= {
        "base_model_tp_plan",
        "base_model_pp_plan",
    }


@pytest.mark.parametrize("shape", ["shared key-value heads", "Qwen2", "Qwen3", "experts"])
def test_no_field_is_left_to_the_reader(shape: str) -> None:
    """Every field of transformers' class stands in the file, and is read as it stands there."""
    fields = fields_of(shape)
    read = transformers.AutoConfig.for_model(**fields)
    for key in type(read).__annotations__:
        assert getattr(read, key) == fields[key], key


def test_theta_stands_in_both_places() -> None:
    """transformers 4, vLLM and llama.cpp read `rope_theta`, transformers 5 `rope_parameters`."""
    fields = fields_of("another rope_theta")
    assert fields["rope_theta"] == fields["rope_parameters"]["rope_theta"] == 500_000.0


def test_both_generations_of_files_are_read() -> None:
    """A file with `rope_theta` alone and one with `rope_parameters` alone mean the same."""
    fields = fields_of("another rope_theta")
    old = {key: value for key, value in fields.items() if key != "rope_parameters"}
    new = {key: value for key, value in fields.items() if key != "rope_theta"}
    assert from_hf_config(old) == from_hf_config(new) == config_of("another rope_theta")


def test_defaults_of_a_sparse_file_are_transformers_own() -> None:
    """A field that a file leaves out is what transformers takes it for."""
    sparse = {
        "model_type": "llama",
        "hidden_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 9,
        "vocab_size": 10,
    }
    ours, theirs = from_hf_config(sparse), transformers.LlamaConfig(**sparse)
    for key in ("rms_norm_eps", "max_position_embeddings", "tie_word_embeddings", "num_key_value_heads", "head_dim"):
        assert getattr(ours, key) == getattr(theirs, key), key
    assert theirs.rope_parameters == {"rope_type": "default", "rope_theta": ours.rope_theta}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gemma"}, "model_type: 'gemma', not one of llama, qwen2, qwen3, qwen3_moe, mistral"),
        ({"model_type": "smollm3"}, "model_type: 'smollm3', every fourth layer has no rotary positions (NoPE)"),
        ({"rope_interleaved": True}, "rope_interleaved: True"),
        ({"model_type": None}, "model_type: missing, not one of llama, qwen2, qwen3, qwen3_moe, mistral"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}, "auto_map: modeling_own.Own, code of its own"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5, not 1.0"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings: 'false'"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
        ({"attention_bias": True}, "attention_bias: True"),
        ({"mlp_bias": True}, "mlp_bias: True"),
        ({"attention_dropout": 0.1}, "attention_dropout: 0.1"),
        ({"sliding_window": 128}, "sliding_window: unknown here"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: {'bits': 4}"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"vocab_size": None}, "vocab_size"),
    ],
)
def test_what_cannot_be_represented_is_named(changes: dict[str, Any], named: str) -> None:
    """One UserError that names the field and what it holds."""
    with pytest.raises(UserError) as caught:
        from_hf_config({**fields_of(), **changes})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_sliding_window": True, "sliding_window": 8}, "use_sliding_window: True"),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types: ["),
        ({"mlp_only_layers": [1]}, "mlp_only_layers: [1]"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step: 2"),
        ({"num_local_experts": 7}, "num_experts 6 and num_local_experts 7"),
        ({"mlp_bias": True}, "mlp_bias: True, not False"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok: found 9; at most num_experts, which is 6"),
    ],
)
def test_what_qwen_has_and_we_do_not_is_named(changes: dict[str, Any], named: str) -> None:
    """Sliding windows and layers without experts change the logits; an expert count said twice must agree."""
    with pytest.raises(UserError) as caught:
        from_hf_config({**fields_of("experts"), **changes})
    assert named in str(caught.value)


@pytest.mark.parametrize("architecture", ["qwen3", "qwen3_moe"])
def test_defaults_of_a_sparse_qwen_file_are_transformers_own(architecture: str) -> None:
    """Also head_dim, which Qwen3 takes for 128 and Qwen3-MoE for hidden_size / num_attention_heads."""
    sparse = {
        "model_type": architecture,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 32,
        "intermediate_size": 9,
        "vocab_size": 10,
    }
    ours, theirs = from_hf_config(sparse), transformers.CONFIG_MAPPING[architecture](**sparse)
    names = ["rms_norm_eps", "max_position_embeddings", "num_key_value_heads", "tie_word_embeddings"]
    if architecture == "qwen3":
        names += ["head_dim"]
    else:
        names += ["num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"]
        assert ours.head_dim == 2
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]


def test_what_changes_nothing_is_read_over() -> None:
    """Rotary positions of all dimensions, and a tokenizer's own code, say nothing of the logits."""
    said = {"partial_rotary_factor": 1.0, "auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    assert from_hf_config({**fields_of(), **said}) == config_of()


def test_a_missing_dimension_is_named() -> None:
    """A config without a size is not guessed at."""
    with pytest.raises(UserError, match="hidden_size: missing"):
        from_hf_config({"model_type": "llama"})


def test_generation_ends_at_eos() -> None:
    """Every id explicit; the length is the caller's to say."""
    assert generation_config(eos=5, bos=None, pad=7) == {
        "bos_token_id": None,
        "eos_token_id": 5,
        "pad_token_id": 7,
        "do_sample": False,
    }


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_no_value_ends_in_a_traceback(kind: str) -> None:
    """Whatever stands in a field, it is read or refused by name."""
    whole = {**fields_of(), "model_type": kind, "rope_scaling": None, "sliding_window": None, "layer_types": None}
    for key in whole:
        for value in ("x", None, [], {}, [1], 3.5, -1, {"rope_theta": "x"}):
            with suppress(UserError):
                from_hf_config({**whole, key: value})
