"""Open models of each family, small and random, as transformers itself saves them: the same logits here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import torch
import transformers

from clapas.model.hf_config import from_hf_config
from clapas.model.source import filled_model, open_source
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe

TOLERANCE = 1e-5
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 160,
    "max_position_embeddings": 192,
    "initializer_range": 0.15,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama 2, CroissantLLM": {"model_type": "llama", "num_key_value_heads": 4},
    "Llama 3.1, Gaperon": {
        "model_type": "llama",
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 48,
        },
    },
    "Lucie": {"model_type": "llama", "num_attention_heads": 8, "rms_norm_eps": 1e-5, "vocab_size": 130},
    "SmolLM": {"model_type": "llama", "tie_word_embeddings": True, "num_attention_heads": 2, "num_key_value_heads": 1},
    "Mistral": {"model_type": "mistral", "sliding_window": None},
    "Mistral, a window that hides nothing": {"model_type": "mistral", "sliding_window": 192},
    "Qwen2.5": {"model_type": "qwen2", "use_sliding_window": False, "tie_word_embeddings": True},
    "Qwen3": {"model_type": "qwen3", "head_dim": 24},
}
OLDER: dict[str, dict[str, Any]] = {
    "Llama 2, CroissantLLM": {"rope_theta": 10_000.0, "rope_scaling": None, "pretraining_tp": 1},
    "Lucie": {"rope_theta": 500_000.0, "rope_scaling": None},
    "SmolLM": {"rope_theta": 100_000.0, "is_llama_config": True, "rope_interleaved": False},
    "Qwen2.5": {"rope_theta": 1_000_000.0, "use_mrope": False, "max_window_layers": 2, "sliding_window": 4096},
}
"""Families whose files are written by transformers 4: `rope_theta` instead of `rope_parameters`, and further fields."""


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    """Of an fp32 model in several shards, at every position up to the longest, to 1e-5."""
    save(family, tmp_path, torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    compare(tmp_path, theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_weights_of_two_bytes_are_read_as_they_are(dtype: torch.dtype, tmp_path: Path) -> None:
    """Computed in fp32 on both sides, they give the same logits: nothing is rounded again."""
    save("Qwen2.5", tmp_path, dtype)
    compare(tmp_path, transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32))


@pytest.mark.parametrize("name", ["continue-lucie-7b", "lora-7b", "dpo-7b"])
def test_lucie_as_published_is_the_model_of_the_recipes(name: str) -> None:
    """6,706,958,336 parameters: what is planned before the model is at hand is what its own file says."""
    published = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "max_position_embeddings": 32_000,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 20_000_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 65_024,
    }
    config = from_hf_config(published)
    assert (config.architecture, config.head_dim, config.parameters()) == ("llama", 128, 6_706_958_336)
    assert read_recipe(f"tune/{name}").model.facts() == config.facts()


@pytest.mark.parametrize("window", [{"sliding_window": 191}, {}])
def test_a_window_in_use_is_refused(window: dict[str, Any]) -> None:
    """Mistral's first models attend to 4,096 tokens back, also where their file does not say so."""
    fields = {**SMALL, "model_type": "mistral", "max_position_embeddings": 192 if window else 8192, **window}
    with pytest.raises(UserError, match="sliding_window: "):
        from_hf_config(fields)


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    """Numbers without their scales are no weights, whatever config.json leaves unsaid."""
    from safetensors.torch import load_file, save_file

    save("Llama 2, CroissantLLM", tmp_path, torch.float32, shard_size="1GB")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="no floats\n  found:   I8"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("pytorch_model.bin", r"pickles(?s:.*)pytorch_model.bin(?s:.*)save_pretrained"),
        ("consolidated.00.pth", r"pickles(?s:.*)consolidated.00.pth"),
        ("model-q8_0.gguf", r"GGUF(?s:.*)model-q8_0.gguf"),
        ("weights.txt", r"no weights here(?s:.*)weights.txt(?s:.*)model.safetensors"),
    ],
)
def test_weights_in_another_form_are_refused(file: str, told: str, tmp_path: Path) -> None:
    """By the file's name, with the way to safetensors; nothing of it is read."""
    save("Lucie", tmp_path, torch.float32, shard_size="1GB")
    (tmp_path / "model.safetensors").rename(tmp_path / file)
    with pytest.raises(UserError, match=told):
        open_source(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """Before anything is read, with what to do."""
    save("Lucie", tmp_path, torch.float32)
    missing = sorted(tmp_path.glob("model-*.safetensors"))[1]
    missing.unlink()
    with pytest.raises(UserError, match=rf"missing\n  found:   {missing.name}\n  way out: fetch"):
        open_source(tmp_path)


def save(family: str, folder: Path, dtype: torch.dtype, shard_size: str = "50KB") -> None:
    """A random model of a family, with biases and norms that are not what they begin as, in several files."""
    fields = {**SMALL, **FAMILIES[family]}
    if theta := OLDER.get(family, {}).get("rope_theta"):
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    config = cast(Any, transformers.CONFIG_MAPPING[fields.pop("model_type")])(**fields)
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    if family in OLDER:
        written = orjson.loads((folder / "config.json").read_bytes())
        del written["rope_parameters"]
        (folder / "config.json").write_bytes(orjson.dumps({**written, **OLDER[family]}))


@torch.no_grad()
def compare(folder: Path, theirs: Any) -> None:
    """Our logits and transformers', over the longest text."""
    source = open_source(folder)
    ours = filled_model(from_hf_config(orjson.loads((folder / "config.json").read_bytes())), source, torch.float32)
    generator = torch.Generator().manual_seed(3)
    tokens_BS = torch.randint(ours.config.vocab_size, (2, ours.config.max_position_embeddings), generator=generator)
    torch.testing.assert_close(ours(tokens_BS), theirs(tokens_BS).logits, rtol=TOLERANCE, atol=TOLERANCE)
