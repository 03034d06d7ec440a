"""The model section: what it derives, what it refuses and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.engine.config import ParallelConfig, check_shares
from clapas.model.config import ComputeConfig, ModelConfig, check_compute
from clapas.model.decoder import CausalLM
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.recipe.typed import read_typed
from model.shapes import COMMON, SHAPES, config_of


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_are_those_of_the_model(shape: str) -> None:
    """The count by formula is the count of the tensors."""
    config = config_of(shape)
    assert config.parameters() == sum(p.numel() for p in CausalLM(config).parameters())


def test_derived_dimensions_are_explicit() -> None:
    """A resolved config says its key-value heads and head_dim, and reading it back gives the same."""
    config = ModelConfig(**COMMON)
    assert (config.num_key_value_heads, config.head_dim) == (4, 12)
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config


def test_flops_per_token_is_palms_convention() -> None:
    """6 N + 12 L H Q T; an untied input embedding multiplies nothing, a tied one is the head."""
    tied, untied = config_of(tie_word_embeddings=True), config_of(tie_word_embeddings=False)
    attention = 12 * 3 * 4 * 12 * 64
    assert tied.flops_per_token(64) == 6 * tied.parameters() + attention
    assert untied.flops_per_token(64) == tied.flops_per_token(64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_attention_heads": 5}, "num_attention_heads: found 5; must divide hidden_size, which is 48"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: found 3; must divide num_attention_heads, which is 4: 1, 2"),
        ({"head_dim": 7}, "head_dim: found 7 (by default hidden_size / num_attention_heads); must be even"),
        ({"hidden_size": 12}, "head_dim: found 3"),
        ({"hidden_size": 0}, "hidden_size: found 0"),
        ({"hidden_size": "wide"}, "hidden_size: found 'wide'"),
        ({"hiden_size": 3}, "did you mean hidden_size?"),
        ({"n_layers": 3}, "did you mean num_hidden_layers?"),
        ({"rope_theta": -1}, "rope_theta: found -1"),
        ({"num_experts": 4}, "num_experts: found 4; belongs to architecture: qwen3_moe, and this is llama"),
        ({"architecture": "qwen3_moe"}, "architecture: qwen3_moe needs num_experts, which is missing"),
        (
            {"architecture": "mamba"},
            "architecture: found 'mamba'; input should be 'llama', 'qwen2', 'qwen3' or 'qwen3_moe'",
        ),
        ({"rope_scaling": "{rope_type: dynamic}"}, "'linear', 'ntk', 'llama3', 'yarn'"),
        ({"rope_scaling": "{rope_type: linear, factor: 0.5}"}, "rope_scaling.factor: found 0.5"),
        ({"rope_scaling": "{rope_type: linear, factor: 2, beta_fast: 1}"}, "rope_scaling.beta_fast: unknown key"),
        ({"rope_scaling": "{rope_type: yarn, factor: 2}"}, "original_max_position_embeddings: missing"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """One message, with the line."""
    lines = [f"{key}: {value}" for key, value in {**COMMON, **changes}.items()]
    path = tmp_path / "model.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        read_typed(path, ModelConfig)
    assert said in str(caught.value)
    assert (
        f"model.yaml:{1 + next(n for n, line in enumerate(lines) if line.startswith(next(iter(changes))))}"
        in str(caught.value)
        or "head_dim" in said
    )
    assert len(str(caught.value).splitlines()) == 1


def test_yarn_ends_at_the_longest_text() -> None:
    """transformers 4 takes the ratio of the lengths for the factor: where they differ, an export is read two ways."""
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
    recipe: dict[str, Any] = {"name": "long", "data": {"path": "data", "sequence_length": 64}}
    recipe["train"] = {"steps": 1, "global_batch_size": 1}
    recipe["model"] = {**COMMON, "max_position_embeddings": 16_384, "rope_scaling": scaling}
    assert Recipe.model_validate(recipe).model.rope_scaling is not None
    recipe["model"]["max_position_embeddings"] = 8192
    with pytest.raises(ValueError, match=r"max_position_embeddings: found 8192; .*max_position_embeddings=16384"):
        Recipe.model_validate(recipe)


def test_experts_are_not_tiled() -> None:
    """A way to compute that a model does not have is refused, with the way out."""
    with pytest.raises(ValueError, match=r"compute\.tiled_mlp: found 64; a layer of experts is not cut"):
        check_compute(ComputeConfig(tiled_mlp=64), config_of("experts"), zero_stage=1)


def test_layers_are_compiled_on_gpus_where_zero_leaves_them_whole() -> None:
    """By default; on a CPU if asked for; at ZeRO-3 not by default, and refused where asked for."""
    left_open, asked = ComputeConfig(), ComputeConfig(compile=True)
    assert [left_open.on("cuda", stage).compile for stage in (0, 1, 2, 3)] == [True, True, True, False]
    assert (left_open.on("cpu", 1).compile, asked.on("cpu", 1).compile) == (False, True)
    with pytest.raises(ValueError, match=r"compute\.compile: found true with parallel\.zero_stage: 3"):
        check_compute(asked, config_of(), zero_stage=3)


def test_experts_are_not_cut_by_tensor_parallelism() -> None:
    """Refused, with what shards them instead; ranks may share a text (parallel.sequence)."""
    check_shares(ParallelConfig(sequence=2), config_of("experts"), sequence_length=64)
    with pytest.raises(ValueError, match=r"parallel\.tensor: found 2; .* use parallel\.zero_stage=3"):
        check_shares(ParallelConfig(tensor=2), config_of("experts"), sequence_length=64)
