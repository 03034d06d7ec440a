"""Our decoder is transformers' Llama, Qwen3 and Qwen3-MoE: the same logits from the same folder, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import torch
import transformers

from clapas.model.build import empty_model
from clapas.model.decoder import CausalLM
from clapas.model.hf_config import from_hf_config, to_hf_config
from clapas.model.hf_reader import load_weights
from clapas.model.hf_weights import write_weights
from clapas.model.rope_scaling_config import NtkScaling
from clapas.model.rotary import rotary_frequencies
from model.shapes import SHAPES, config_of, fill_from, model_of, tokens_of

TOLERANCE = 1e-5
"""Of logits around 1, relative and absolute: fp32 sums in another order."""


def save(model: CausalLM, folder: Path, shard_bytes: int = 10**9) -> None:
    """Write a model as `clapas export` does."""
    state = dict(model.named_parameters())
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    write_weights(folder, shapes, fill_from(state.__getitem__), torch.float32, shard_bytes)
    # no pad: transformers gives its embedding no gradient
    fields = to_hf_config(model.config, eos=1, bos=2, pad=None, dtype="float32")
    (folder / "config.json").write_bytes(orjson.dumps(fields))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_ours_in_transformers(shape: str, tmp_path: Path) -> None:
    """transformers loads our folder, misses nothing, finds nothing too much, and computes our logits."""
    model = model_of(config_of(shape))
    save(model, tmp_path, shard_bytes=20_000)
    theirs, info = cast(Any, transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True))
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    tokens_BS = tokens_of(model.config)
    torch.testing.assert_close(model(tokens_BS), theirs(tokens_BS).logits, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_transformers_in_ours(shape: str, shard_size: str, tmp_path: Path) -> None:
    """A folder that transformers wrote, in one file or in shards, loads here and gives the same logits."""
    config = config_of(shape)
    ours_alone = ("architecture", "rope_theta", "rope_scaling")
    fields = {key: value for key, value in config.facts().items() if key not in ours_alone and value is not None}
    scaling = {"rope_type": "default"} if config.rope_scaling is None else config.rope_scaling.model_dump()
    theirs_config = cast(Any, transformers.CONFIG_MAPPING[config.architecture])(
        **fields, rope_parameters={**scaling, "rope_theta": config.rope_theta}
    )
    torch.manual_seed(4)
    theirs = transformers.AutoModelForCausalLM.from_config(theirs_config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    read = from_hf_config(orjson.loads((tmp_path / "config.json").read_bytes()))
    assert read == config
    ours = empty_model(read, torch.float32)
    load_weights(ours, tmp_path)
    tokens_BS = tokens_of(config)
    torch.testing.assert_close(ours(tokens_BS), theirs(tokens_BS).logits, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    "shape", ["shared key-value heads", "positions interpolated", "positions as Llama 3.1", "positions by YaRN"]
)
@torch.no_grad()
def test_far_positions(shape: str, tmp_path: Path) -> None:
    """Positions near a long context's end, far beyond a scaling's original length, are turned as transformers does."""
    model = model_of(config_of(shape, max_position_embeddings=131_072))
    save(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens_BS, positions_BS = tokens_of(model.config, length=64), torch.arange(131_008, 131_072)[None]
    want = theirs(tokens_BS, position_ids=positions_BS).logits
    torch.testing.assert_close(model(tokens_BS, positions_BS), want, rtol=TOLERANCE, atol=TOLERANCE)


@torch.no_grad()
def test_ntk_is_a_base_that_transformers_computes(tmp_path: Path) -> None:
    """NTK-aware scaling is exported as a larger rope_theta and no scaling: the same logits, up to the last position."""
    config = config_of("shared key-value heads", max_position_embeddings=131_072)
    model = model_of(config.model_copy(update={"rope_scaling": NtkScaling(rope_type="ntk", factor=8.0)}))
    save(model, tmp_path)
    fields = orjson.loads((tmp_path / "config.json").read_bytes())
    assert fields["rope_theta"] == pytest.approx(config.rope_theta * 8 ** (config.head_dim / (config.head_dim - 2)))
    assert fields["rope_scaling"] is None
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens_BS, positions_BS = tokens_of(model.config, length=64), torch.arange(131_008, 131_072)[None]
    want = theirs(tokens_BS, position_ids=positions_BS).logits
    torch.testing.assert_close(model(tokens_BS, positions_BS), want, rtol=TOLERANCE, atol=TOLERANCE)
    of_ntk, plain = (rotary_frequencies(c, torch.device("cpu"))[0][[-1, 0]] for c in (model.config, config))
    torch.testing.assert_close(plain / of_ntk, torch.tensor([8.0, 1.0]))


@pytest.mark.parametrize("shape", ["tied", "Qwen3", "experts"])
def test_gradients(shape: str, tmp_path: Path) -> None:
    """The summed loss and all gradients are those of transformers' logits under PyTorch's cross-entropy."""
    model = model_of(config_of(shape))
    save(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens_BS = tokens_of(model.config)
    targets_BS = tokens_BS.roll(-1, 1)
    loss, _ = model(tokens_BS, targets_BS=targets_BS)
    want = torch.nn.functional.cross_entropy(
        theirs(tokens_BS).logits.flatten(0, 1), targets_BS.flatten(), reduction="sum"
    )
    torch.testing.assert_close(loss, want, rtol=1e-6, atol=0)
    loss.backward()
    want.backward()
    expected: dict[str, Any] = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for layer in range(model.config.num_hidden_layers if model.config.experts else 0):
        stacked = expected.pop(f"model.layers.{layer}.mlp.experts.gate_up_proj").chunk(2, dim=1)
        for half, name in zip(stacked, ("gate_proj", "up_proj"), strict=True):
            expected[f"model.layers.{layer}.mlp.experts.{name}"] = half
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5 * scale)
