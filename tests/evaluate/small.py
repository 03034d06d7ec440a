"""A small model with a tokenizer that has every byte, as a Hugging Face folder: no training, real parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_config import generation_config, to_hf_config
from clapas.model.hf_weights import write_weights
from clapas.model.init import initialise
from model.shapes import fill_from

EOS, BOS, PAD = 256, 257, 258
CONFIG = ModelConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    vocab_size=259,
    max_position_embeddings=96,
    initializer_range=0.15,
)


def write_tokenizer(folder: Path, **changes: Any) -> None:
    """Bytes as tokens 0 to 255, then EOS, BOS and pad."""
    vocabulary = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue] a setter
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue] a setter
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in ("<eos>", "<bos>", "<pad>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<pad>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names, **changes}
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps(config))


def write_model(folder: Path, config: ModelConfig = CONFIG, seed: int = 1) -> CausalLM:
    """A Hugging Face folder; returns its model."""
    folder.mkdir(parents=True, exist_ok=True)
    model = CausalLM(config).eval()
    initialise(model, seed)
    state = dict(model.named_parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    (folder / "model.safetensors").unlink(missing_ok=True)
    write_weights(folder, shapes, fill_from(state.__getitem__), torch.float32, 10**9)
    ids: dict[str, Any] = {"eos": EOS, "bos": BOS, "pad": PAD}
    (folder / "config.json").write_bytes(orjson.dumps(to_hf_config(config, **ids, dtype="float32")))
    (folder / "generation_config.json").write_bytes(orjson.dumps(generation_config(**ids)))
    write_tokenizer(folder)
    return model
