"""Hugging Face's safetensors folders, both ways. Our names are theirs, so nothing is renamed or turned.

A folder holds `model.safetensors`, or shards with `model.safetensors.index.json`. A tied head is stored once, under the
embedding's name. The experts of a layer, which are one tensor here, are stored one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clapas.checkpoint.tensor_file import stream_tensors
from clapas.model.decoder import CausalLM
from clapas.recipe.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
EXPERTS = ".mlp.experts."


def write_weights(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensor_of: Callable[[str], Tensor],
    dtype: torch.dtype,
    shard_bytes: int,
) -> None:
    """Write every tensor, in the order of `shapes`, into files of at most `shard_bytes` (one tensor may exceed it).

    shapes: of the model's parameters, by name. tensor_of: gives one by name, of any dtype; they are asked for one at a
    time and in order, and written before the next.
    """
    parts = {stored: (name, part) for name, shape in shapes.items() for stored, part in stored_parts(name, shape)}
    shapes_of = {stored: tuple(shapes[name][0 if part is None else 1 :]) for stored, (name, part) in parts.items()}
    sizes = {stored: math.prod(shape) * dtype.itemsize for stored, shape in shapes_of.items()}
    asked_last = functools.lru_cache(maxsize=1)(tensor_of)  # the experts of one tensor follow each other

    def tensor_stored(stored: str) -> Tensor:
        name, part = parts[stored]
        return _part(asked_last(name), part, dtype)

    shards = _into_shards(sizes, shard_bytes)
    files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    if len(shards) == 1:
        files = [SINGLE]
    for file, names in zip(files, shards, strict=True):
        entries = {stored: (dtype, shapes_of[stored]) for stored in names}
        stream_tensors(folder / file, entries, tensor_stored)
    if len(shards) > 1:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        (folder / INDEX).write_bytes(orjson.dumps(index, option=orjson.OPT_INDENT_2) + b"\n")


def stored_parts(name: str, shape: tuple[int, ...]) -> list[tuple[str, int | None]]:
    """(name in a Hugging Face folder, index in the parameter) of each tensor that a parameter is stored as.

    `….mlp.experts.gate_proj`, (X, F, E) -> `….mlp.experts.0.gate_proj.weight` and so on to X - 1; others: themselves.
    """
    before, sign, projection = name.partition(EXPERTS)
    if not sign:
        return [(name, None)]
    return [(f"{before}{EXPERTS}{expert}.{projection}.weight", expert) for expert in range(shape[0])]


def _part(tensor: Tensor, part: int | None, dtype: torch.dtype) -> Tensor:
    return (tensor if part is None else tensor[part]).to(dtype).contiguous()


def _into_shards(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Names in order, cut where a shard would grow beyond `shard_bytes`."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if shards[-1] and held + size > shard_bytes:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += size
    return shards


@torch.no_grad()
def load_weights(model: CausalLM, folder: Path) -> None:
    """Fill a model from a Hugging Face folder, in the model's dtype.

    Raises UserError, naming them, for tensors that are missing, that the model has no place for, or of another shape;
    for a tied model whose stored head differs from its embedding; for a file that is missing or not safetensors.
    """
    files = _files_by_name(folder)
    parameters = {
        stored: parameter if part is None else parameter[part]
        for name, parameter in model.named_parameters()
        for stored, part in stored_parts(name, tuple(parameter.shape))
    }
    # older exports store the rotary frequencies, which follow from the config
    surplus = [name for name in files if name not in parameters and not name.endswith("rotary_emb.inv_freq")]
    if model.config.tie_word_embeddings and HEAD in surplus and EMBEDDING in files:
        _check_tied(folder, files)
        surplus.remove(HEAD)
    _refuse(folder, "tensors are missing", [name for name in parameters if name not in files])
    _refuse(folder, "tensors have no place in this model", surplus)
    opened = {file: _open(folder / file) for file in set(files.values())}
    for name, parameter in parameters.items():
        file, wanted = opened[files[name]], tuple(parameter.shape)
        if name not in file.keys():  # noqa: SIM118 not a mapping
            raise UserError(f"{name}: not in the file that the index names", where=folder / files[name])
        found = tuple(file.get_slice(name).get_shape())
        if found != wanted:
            raise UserError(f"{name}: another shape", where=folder / files[name], found=found, wanted=str(wanted))
        parameter.copy_(file.get_tensor(name))


def _files_by_name(folder: Path) -> dict[str, str]:
    """Which file of the folder holds each tensor."""
    if (folder / INDEX).is_file():
        try:
            where = orjson.loads((folder / INDEX).read_bytes())["weight_map"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UserError(
                "not an index of safetensors", where=folder / INDEX, wanted="JSON with `weight_map`"
            ) from None
        missing = sorted({file for file in where.values() if not (folder / file).is_file()})
        _refuse(folder, "files that the index names are missing", missing)
        return where
    if (folder / SINGLE).is_file():
        return dict.fromkeys(_open(folder / SINGLE).keys(), SINGLE)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"
    raise UserError("no weights here", where=folder, found=found, wanted=f"{SINGLE}, or shards with {INDEX}")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise UserError("not a whole safetensors file", where=path, found=str(error)) from None


def _check_tied(folder: Path, files: Mapping[str, str]) -> None:
    embedding, head = (_open(folder / files[name]).get_tensor(name) for name in (EMBEDDING, HEAD))
    if not torch.equal(embedding, head):
        found = f"{HEAD} differs from {EMBEDDING}"
        raise UserError("config.json ties the head, the weights do not", where=folder, found=found)


def _refuse(folder: Path, what: str, names: list[str], shown: int = 5) -> None:
    if names:
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        raise UserError(what, where=folder, found=f"{', '.join(names[:shown])}{more}")
