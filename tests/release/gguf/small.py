"""Small models of every architecture with a French tokenizer of their own, as Hugging Face folders: no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import torch
from tokenizers import AddedToken, Tokenizer

from clapas.evaluate.stop_ids import turn_ends
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_config import generation_config, to_hf_config
from clapas.model.hf_weights import write_weights
from clapas.release.tokenizer_files import write_tokenizer
from clapas_data.chat.template import SHIPPED
from clapas_data.encode import open_tokenizer
from clapas_data.tokenizer.presets import SPLITS, SplitName
from clapas_data.tokenizer.train import FRENCH, SPECIAL, learn_merges
from model.shapes import fill_from, model_of

ROWS = 544
"""Of the vocabulary: a few more than the tokens, as padding."""
DIMENSIONS: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": ROWS,
    "max_position_embeddings": 128,
    "rope_theta": 50_000.0,
    "initializer_range": 0.15,  # lively enough that a mistake shows
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, tied, as Llama 3.1": {"tie_word_embeddings": True, "rope_scaling": LLAMA3, "head_dim": 32},
    "llama, interpolated": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama, by YaRN": {"rope_scaling": {**YARN, "attention_factor": 1.5}, "head_dim": 32},
    "qwen2": {"architecture": "qwen2", "tie_word_embeddings": True},
    "qwen3, by YaRN": {"architecture": "qwen3", "head_dim": 32, "rope_scaling": YARN},
    "qwen3_moe": {"architecture": "qwen3_moe", **EXPERTS},
}


def config_of(model: str, **changes: Any) -> ModelConfig:
    """The config of one of MODELS."""
    return ModelConfig(**{**DIMENSIONS, **MODELS[model], **changes})


def write_small_tokenizer(folder: Path, split: SplitName = "llama3", template: str | None = None) -> None:
    """Bytes, a few merges of French and the special tokens that our tokenizers have. template: a shipped one."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer: Tokenizer = learn_merges([list(FRENCH) * 3], 530, SPLITS[split])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "pad_token": SPECIAL[2], "add_bos_token": False}
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(names))
    if template is not None:
        (folder / "chat_template.jinja").write_bytes((SHIPPED / f"{template}.jinja").read_bytes())


def write_folder(
    folder: Path, config: ModelConfig, tokenizer: Path, dtype: torch.dtype = torch.float32, seed: int = 1
) -> CausalLM:
    """A Hugging Face folder as an export has it; returns its model, in fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model_of(config, seed).eval()
    state = dict(model.named_parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    write_weights(folder, shapes, fill_from(state.__getitem__), dtype, 10**9)
    record = open_tokenizer(tokenizer).record
    ids: dict[str, Any] = {"eos": record.eos, "bos": record.bos, "pad": record.pad}
    named = "float32" if dtype == torch.float32 else "bfloat16"
    (folder / "config.json").write_bytes(orjson.dumps(to_hf_config(config, **ids, dtype=named)))
    generation = generation_config(**ids, ends=turn_ends(tokenizer))
    (folder / "generation_config.json").write_bytes(orjson.dumps(generation))
    write_tokenizer(tokenizer, folder, config.max_position_embeddings)
    return model
