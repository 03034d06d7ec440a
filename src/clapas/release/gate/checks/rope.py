"""Check 4: rotary positions are those of the training, wherever a reader looks for them.

transformers 4, vLLM and llama.cpp read `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters`; one that
finds nothing takes a base of 10,000, and none complains.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydantic

from clapas.model.config import ModelConfig
from clapas.model.hf_rope import read_rope, rope_fields
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import Unreadable, read_object
from clapas.release.layout import CONFIG, TOKENIZER_CONFIG

LONGEST = "max_position_embeddings"


def check_rope(draft: Draft) -> Verdict:
    """The fields among themselves, and against the model that was trained."""
    config = read_object(draft.folder, CONFIG)
    if isinstance(config, Unreadable):
        return not_run(config.why)
    trained = ModelConfig.model_validate(draft.evidence.model)
    problems = [*_rotary(config, trained), *_longest(draft, config, trained)]
    return judged(problems, f"rope_theta {config.get('rope_theta')} and {LONGEST} {config.get(LONGEST)}, as trained")


def _rotary(config: dict[str, Any], trained: ModelConfig) -> Iterator[str]:
    for field in ("rope_theta", "rope_parameters"):
        if config.get(field) is None:
            yield f"{CONFIG} has no {field}: who reads that field alone takes 10,000 for the base"
    parameters = config.get("rope_parameters")
    if isinstance(parameters, dict) and parameters.get("rope_theta") is None:
        yield f"{CONFIG} has no rope_parameters.rope_theta, which transformers 5 reads"
    for place, theta in (("", config), ("rope_parameters.", parameters)):
        if isinstance(theta, dict) and isinstance(text := theta.get("rope_theta"), str):
            yield f"{CONFIG} says {place}rope_theta {text!r}, a text: readers in C++ take another base"
    problems: list[str] = []
    try:
        found = read_rope(config, trained.max_position_embeddings, problems)
    except (AttributeError, TypeError, ValueError, pydantic.ValidationError) as error:
        yield f"{CONFIG}: rotary fields that mean nothing: {type(error).__name__}: {error}"
        return
    yield from (f"{CONFIG} contradicts itself: {problem}" for problem in problems)
    if config.get("rope_scaling") is None and found[1] is not None:
        yield f"{CONFIG} has no rope_scaling, which transformers 4 reads, and rope_parameters stretches positions"
    if (partial := config.get("partial_rotary_factor", 1.0)) != 1.0:
        yield f"{CONFIG} says partial_rotary_factor {partial!r}: all of a head turns"
    wanted = read_rope(rope_fields(trained), trained.max_position_embeddings, [])
    for what, ours, theirs in zip(("rope_theta", "rope_scaling"), found, wanted, strict=True):
        if ours != theirs:
            yield f"{CONFIG} says {what} {_plain(ours)}, and the model was trained with {_plain(theirs)}"


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, pydantic.BaseModel) else value


def _longest(draft: Draft, config: dict[str, Any], trained: ModelConfig) -> Iterator[str]:
    """The longest text, in the model's file and in the tokenizer's."""
    if config.get(LONGEST) != trained.max_position_embeddings:
        found, wanted = config.get(LONGEST), trained.max_position_embeddings
        yield f"{CONFIG} says {LONGEST} {found!r}, and the model was trained with {wanted}"
    settings = read_object(draft.folder, TOKENIZER_CONFIG)
    if not isinstance(settings, Unreadable):
        length = settings.get("model_max_length")
        if length != trained.max_position_embeddings:
            yield f"{TOKENIZER_CONFIG} says model_max_length {length!r}: {trained.max_position_embeddings} fit"


CHECK = Check(4, "rope", "rotary fields agree with each other and with training", check_rope)
