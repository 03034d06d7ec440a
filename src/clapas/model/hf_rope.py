"""Rotary positions in Hugging Face's `config.json`, both ways. No torch.

The base stands in `rope_theta` for most readers and in `rope_parameters` for transformers 5; a scaling stands in
`rope_scaling` for most and again in `rope_parameters`. All are written; those that are read must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from clapas.model.config import ModelConfig
from clapas.model.rope_scaling_config import NtkScaling, RopeScaling, StockScaling


def rope_fields(config: ModelConfig) -> dict[str, Any]:
    """The fields of `config.json` that say how positions turn."""
    theta, scaling = {"rope_theta": config.rope_theta}, config.rope_scaling
    if isinstance(scaling, NtkScaling):
        theta, scaling = {"rope_theta": scaling.theta(config.rope_theta, config.head_dim)}, None
    if scaling is None:
        return {**theta, "rope_scaling": None, "rope_parameters": {"rope_type": "default", **theta}}
    scaling = scaling.model_dump(exclude_none=True)
    return {**theta, "rope_scaling": scaling, "rope_parameters": {**scaling, **theta}}


def read_rope(fields: Mapping[str, Any], positions: int, problems: list[str]) -> tuple[float, RopeScaling | None]:
    """(rope_theta, scaling) of a `config.json`.

    positions: its max_position_embeddings. Adds to `problems` what cannot be computed, and fields that contradict one
    another.
    """
    sources = {key: value for key in ("rope_parameters", "rope_scaling") if (value := fields.get(key))}
    places = {"rope_theta": fields, **{f"{key}.rope_theta": value for key, value in sources.items()}}
    thetas = {name: float(place["rope_theta"]) for name, place in places.items() if place.get("rope_theta") is not None}
    if len(set(thetas.values())) > 1:
        problems.append(" and ".join(f"{name} {theta}" for name, theta in thetas.items()))
    scalings: list[RopeScaling | None] = []
    for key, value in sources.items():
        try:
            scalings.append(_scaling(value, positions))
        except pydantic.ValidationError as error:
            problems.append(f"{key}: {value!r}: {explained(error)}")
    if any(scaling != scalings[0] for scaling in scalings):
        problems.append(" and ".join(f"{key} {value!r}" for key, value in sources.items()))
    return next(iter(thetas.values()), 10_000.0), next(iter(scalings), None)


def _scaling(value: Mapping[str, Any], positions: int) -> RopeScaling | None:
    """As transformers 5 reads it; what it fills in where a field is missing is filled in."""
    given = {key: item for key, item in value.items() if item is not None and key not in ("rope_theta", "type")}
    kind = given.setdefault("rope_type", value.get("type", "default"))
    if given.get("partial_rotary_factor") == 1.0:
        del given["partial_rotary_factor"]
    if given == {"rope_type": "default"}:
        return None
    if kind in ("llama3", "yarn"):
        given.setdefault("original_max_position_embeddings", positions)
    return pydantic.TypeAdapter(StockScaling).validate_python(given)


def explained(error: pydantic.ValidationError) -> str:
    """What is wrong with a config, without pydantic's frame."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
        for item in error.errors()
    )
