"""A GGUF file against the Hugging Face folder that it was made of: every key, every tensor, every number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clapas.model.hf_reader import HuggingFaceWeights
from clapas.model.source import WeightSource
from clapas.release.gguf.about import Value
from clapas.release.gguf.quantisations import BLOCK, Kind
from clapas.release.gguf.tensors import ROPE_FACTORS, Planned, pieces
from clapas.release.gguf.write import Contents
from clapas_data.optional import needs

HALF_ROUNDING = 2.0**-11
"""Relative error of a number rounded to fp16, which the scale of a block is."""
HALF_SMALLEST = 2.0**-25
"""The same for numbers too small for it, absolute."""
LEVELS = {"Q8_0": 127, "Q4_0": 8}
"""Steps from zero to a block's largest number."""


def differences(file: Path, folder: Path, contents: Contents) -> Iterator[str]:
    """A sentence for each thing in which a file is not what its folder makes of it. contents: of that folder."""
    with needs("gguf", "reading GGUF", "release"):
        import gguf
    try:
        reader = gguf.GGUFReader(file)
    except Exception as error:  # it believes every length that it reads, and fails anyhow where one is wrong
        yield f"{file.name} is cut short, or no GGUF: {error}"
        return
    end = max((tensor.data_offset + tensor.n_bytes for tensor in reader.tensors), default=0)
    if (surplus := file.stat().st_size - end) >= reader.alignment:
        yield f"{file.name}: {surplus:,} bytes after its last tensor"
    yield from (f"{file.name}: {problem}" for problem in _of_keys(reader, contents.fields))
    yield from (f"{file.name}: {problem}" for problem in _of_tensors(reader, folder, contents))


def _of_keys(reader: Any, wanted: dict[str, Value]) -> Iterator[str]:
    found = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    if missing := sorted(set(wanted) - set(found)):
        yield f"without {', '.join(missing)}"
    if surplus := sorted(set(found) - set(wanted)):
        yield f"with {', '.join(surplus)}, which nothing asks for"
    for name in wanted.keys() & found.keys():
        value, is_value = found[name].contents(), wanted[name]
        if value != (float(np.float32(is_value)) if isinstance(is_value, float) else is_value):
            yield f"{name} is {_shown(value, is_value)}"


def _shown(found: Any, wanted: Any) -> str:
    """Both values; of lists and long texts where they part."""
    if type(found) is not type(wanted) or not isinstance(found, list | str):
        return f"{found}, not {wanted}"
    if isinstance(found, str) and len(found) + len(wanted) < 120:
        return f"{found!r}, not {wanted!r}"
    places = (place for place, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other)
    place = next(places, min(len(found), len(wanted)))
    return (
        f"another from place {place} of {len(wanted)} on: {found[place : place + 1]}, not {wanted[place : place + 1]}"
    )


def _of_tensors(reader: Any, folder: Path, contents: Contents) -> Iterator[str]:
    found = {tensor.name: tensor for tensor in reader.tensors}
    planned = {tensor.name: tensor for tensor in contents.tensors}
    factors = {} if contents.factors is None else {ROPE_FACTORS: contents.factors}
    wanted = {*planned, *factors}
    if missing := sorted(wanted - set(found)):
        yield f"without the tensors {', '.join(missing[:5])}"
    if surplus := sorted(set(found) - wanted):
        yield f"with the tensors {', '.join(surplus[:5])}, which the model does not have"
    for name in factors.keys() & found.keys():
        if not np.array_equal(found[name].data, factors[name]):
            yield f"{name} does not stretch positions as the config says"
    source = HuggingFaceWeights(folder, contents.config)
    for name, tensor in planned.items():
        if name in found and (problem := _of_tensor(found[name], tensor, source)):
            yield f"{name} {problem}"


def _of_tensor(found: Any, wanted: Planned, source: WeightSource) -> str | None:
    """What is wrong with a tensor; None where its type, shape and every number are the folder's."""
    shape = tuple(int(size) for size in reversed(found.shape))
    if shape != wanted.shape:
        return f"is of shape {shape}, not {wanted.shape}"
    if found.tensor_type.name != wanted.kind:
        return f"is stored as {found.tensor_type.name}, not {wanted.kind}"
    stored = found.data.reshape(wanted.rows, -1)
    for places, rows in pieces(source, wanted):
        values = dequantised(stored[places], wanted.kind)
        if not (np.abs(values - rows) <= allowed(rows, wanted.kind)).all():  # a NaN is not within any bound
            worst = float(np.nanmax(np.abs(values - rows)))
            return f"does not hold the numbers of {wanted.parameter}: they differ by up to {worst:.3g}"
    return None


def dequantised(stored: np.ndarray, kind: Kind) -> np.ndarray:
    """Rows as they are stored, back in fp32."""
    import gguf

    return gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[kind])


def allowed(rows: np.ndarray, kind: Kind) -> np.ndarray | float:
    """How far a number may be from what it was before it was stored as `kind`, at most; shaped as rows, or one for all.

    In bf16 as far as rounding to nearest takes it. In blocks half a step, and what the scale's own rounding to fp16
    makes of the number. Q4_0 has 8 steps towards the sign of a block's largest number and 7 away from it, so that
    beyond 7.5 a number may lose up to a whole one.
    """
    if kind == "F32":
        return 0.0
    if kind == "BF16":
        return np.abs(rows - torch.from_numpy(rows).bfloat16().float().numpy())
    blocks = rows.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    step = np.abs(largest) / LEVELS[kind]
    bound = step * 0.5
    if kind == "Q4_0":
        bound = np.maximum(bound, -np.sign(largest) * blocks - 7 * step)
    rounding = np.abs(blocks) * HALF_ROUNDING + LEVELS[kind] * HALF_SMALLEST
    return (bound * (1 + 1e-5) + rounding).reshape(rows.shape)
