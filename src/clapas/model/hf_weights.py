"""Hugging Face's safetensors folders, written; `hf_reader` reads them. Our names are theirs: nothing is renamed.

A folder holds `model.safetensors`, or shards with `model.safetensors.index.json`. A tied head is stored once, under the
embedding's name. The experts of a layer, which are one tensor here, are stored one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import torch
from torch import Tensor

from clapas.checkpoint.tensor_file import stream_tensors

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
EXPERTS = ".mlp.experts."


Fill = Callable[[str, int, Tensor], object]
"""(a parameter's name, offset, out): fills `out`, flat and of any dtype, with its elements from `offset` on."""


def write_weights(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], fill: Fill, dtype: torch.dtype, shard_bytes: int
) -> None:
    """Write every tensor, in the order of `shapes`, into files of at most `shard_bytes` (one tensor may exceed it).

    shapes: of the model's parameters, by name. They are asked for one at a time and in order, straight into `dtype`,
    and written before the next: memory holds one tensor as it is stored.
    """
    parts = {stored: (name, part) for name, shape in shapes.items() for stored, part in stored_parts(name, shape)}
    shapes_of = {stored: tuple(shapes[name][0 if part is None else 1 :]) for stored, (name, part) in parts.items()}
    sizes = {stored: math.prod(shape) * dtype.itemsize for stored, shape in shapes_of.items()}

    def tensor_stored(stored: str) -> Tensor:
        name, part = parts[stored]
        tensor = torch.empty(shapes_of[stored], dtype=dtype)
        fill(name, (part or 0) * tensor.numel(), tensor.view(-1))
        return tensor

    shards = _into_shards(sizes, shard_bytes)
    files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    if len(shards) == 1:
        files = [SINGLE]
    for file, names in zip(files, shards, strict=True):
        entries = {stored: (dtype, shapes_of[stored]) for stored in names}
        stream_tensors(folder / file, entries, tensor_stored)
    if len(shards) > 1:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        total = {"total_parameters": sum(map(math.prod, shapes_of.values())), "total_size": sum(sizes.values())}
        index = {"metadata": total, "weight_map": where}
        (folder / INDEX).write_bytes(orjson.dumps(index, option=orjson.OPT_INDENT_2) + b"\n")


def stored_parts(name: str, shape: tuple[int, ...]) -> list[tuple[str, int | None]]:
    """(name in a Hugging Face folder, index in the parameter) of each tensor that a parameter is stored as.

    `….mlp.experts.gate_proj`, (X, F, E) -> `….mlp.experts.0.gate_proj.weight` and so on to X - 1; others: themselves.
    """
    before, sign, projection = name.partition(EXPERTS)
    if not sign:
        return [(name, None)]
    return [(f"{before}{EXPERTS}{expert}.{projection}.weight", expert) for expert in range(shape[0])]


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
