"""Loading is strict: what is missing, too much, misshapen or cut short is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file

from clapas.model.build import empty_model
from clapas.model.hf_reader import load_weights
from clapas.model.hf_weights import INDEX, SINGLE, write_weights
from clapas.recipe.errors import UserError
from model.shapes import config_of, fill_from, model_of

Tensors = dict[str, torch.Tensor]


def write(folder: Path, shape: str = "shared key-value heads", shard_bytes: int = 10**9) -> Tensors:
    """A model's folder; returns its tensors."""
    tensors = {name: parameter.detach() for name, parameter in model_of(config_of(shape)).named_parameters()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    write_weights(folder, shapes, fill_from(tensors.__getitem__), torch.float32, shard_bytes)
    return tensors


def load(folder: Path, shape: str = "shared key-value heads") -> Tensors:
    """The folder's weights in a fresh model."""
    model = empty_model(config_of(shape), torch.float32)
    load_weights(model, folder)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("shape", ["tied", "shared key-value heads"])
@pytest.mark.parametrize("shard_bytes", [1, 30_000, 10**9])
def test_shards_hold_every_tensor_once(tmp_path: Path, shape: str, shard_bytes: int) -> None:
    """No file exceeds the size unless one tensor does; the index names each tensor's file; reading gives all back."""
    tensors = write(tmp_path, shape, shard_bytes)
    files = sorted(tmp_path.glob("*.safetensors"))
    held = {file.name: load_file(file) for file in files}
    assert sorted(name for tensors in held.values() for name in tensors) == sorted(tensors)
    for content in held.values():
        assert len(content) == 1 or sum(t.nbytes for t in content.values()) <= shard_bytes
    if len(files) > 1:
        index = orjson.loads((tmp_path / INDEX).read_bytes())
        assert all(name in held[file] for name, file in index["weight_map"].items())
        assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values())
        assert index["metadata"]["total_parameters"] == sum(t.numel() for t in tensors.values())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load(tmp_path, shape).items())


def test_one_tensor_at_a_time_is_asked_for(tmp_path: Path) -> None:
    """Writing holds one: when a tensor is asked for, the bytes of all before it are on the disk."""
    tensors = {f"t{n}": torch.full((100,), float(n)) for n in range(5)}
    on_disk: list[int] = []

    def tensor_of(name: str) -> torch.Tensor:
        on_disk.append(sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")))
        return tensors[name]

    write_weights(tmp_path, dict.fromkeys(tensors, (100,)), fill_from(tensor_of), torch.float32, 800)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert all(size >= 400 * number for number, size in enumerate(on_disk))


def lose(tensors: Tensors) -> None:
    del tensors["model.norm.weight"]


def add(tensors: Tensors) -> None:
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(48)


def reshape(tensors: Tensors) -> None:
    tensors["model.norm.weight"] = torch.ones(47)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose, "tensors are missing\n  found:   model.norm.weight"),
        (add, "tensors have no place in this model\n  found:   model.layers.0.self_attn.q_proj.bias"),
        (reshape, "model.norm.weight: another shape\n  found:   (47,)\n  wanted:  (48,)"),
    ],
)
def test_keys_are_strict(tmp_path: Path, change: Callable[[Tensors], None], said: str) -> None:
    """A folder that does not hold exactly the model's tensors is refused."""
    tensors = write(tmp_path)
    change(tensors)
    save_file(tensors, tmp_path / SINGLE)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert said in str(caught.value)


def test_an_untied_model_needs_its_head(tmp_path: Path) -> None:
    """A missing head is an error, never random weights."""
    tensors = write(tmp_path)
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / SINGLE)
    with pytest.raises(UserError, match=r"lm_head\.weight"):
        load(tmp_path)


def test_a_tied_model_may_store_its_head_twice_but_not_otherwise(tmp_path: Path) -> None:
    """Some tools write the tied head out: fine where it is the embedding, refused where it is another."""
    tensors = write(tmp_path, "tied")
    embedding = tensors["model.embed_tokens.weight"]
    save_file({**tensors, "lm_head.weight": embedding.clone()}, tmp_path / SINGLE)
    assert torch.equal(load(tmp_path, "tied")["model.embed_tokens.weight"], embedding)
    save_file({**tensors, "lm_head.weight": embedding + 1}, tmp_path / SINGLE)
    with pytest.raises(UserError, match="ties the head"):
        load(tmp_path, "tied")


def test_old_rotary_buffers_are_passed_over(tmp_path: Path) -> None:
    """Folders of 2023 store `rotary_emb.inv_freq`, which follows from the config."""
    tensors = write(tmp_path)
    save_file({**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(6)}, tmp_path / SINGLE)
    assert load(tmp_path)


def cut(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def lose_shard(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").unlink()


def spoil_index(folder: Path) -> None:
    (folder / INDEX).write_text("{}")


def list_index(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": ["model-00001-of-00002.safetensors"]}')


def lose_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "not a whole safetensors file"),
        (lose_shard, "files that the index names are missing"),
        (spoil_index, "not an index"),
        (list_index, "not an index"),
        (lose_all, "no weights here"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    """One message each."""
    write(tmp_path, shard_bytes=220_000)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    damage(tmp_path)
    with pytest.raises(UserError, match=said):
        load(tmp_path)


def test_a_single_file_comes_before_an_index(tmp_path: Path) -> None:
    """As for transformers: shards that an earlier save has left beside it are not read."""
    write(tmp_path)
    wanted = load(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": {"model.norm.weight": "gone.safetensors"}}')
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in load(tmp_path).items())
