"""Hugging Face's `config.json` and `generation_config.json`, from our config and back. No torch.

Every field is written out: what a reader does not find it makes up, and readers differ (`rope_theta` alone is read by
transformers 4, vLLM and llama.cpp, `rope_parameters` alone by transformers 5, and neither complains).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import pydantic

from clapas.model.config import EXPERT_KEYS, Architecture, ModelConfig
from clapas.model.hf_fields import (
    CLASSES,
    DIMENSIONS,
    FIXED,
    FIXED_WHERE_SAID,
    KINDS,
    READ_AS,
    REFUSED,
    TRANSFORMERS_DEFAULTS,
    UNPADDED,
    WITHOUT_EFFECT,
)
from clapas.model.hf_rope import explained, read_rope, rope_fields
from clapas.recipe.errors import UserError

Dtype = Literal["float32", "bfloat16", "float16"]


def to_hf_config(
    config: ModelConfig, *, eos: int, bos: int | None, pad: int | None, dtype: Dtype, unpadded: int | None = None
) -> dict[str, Any]:
    """`config.json` of an exported model. eos, bos, pad: the tokenizer's ids; dtype: of the weights as written.

    unpadded: how many rows of the vocabulary have a token, where some have none.
    """
    return {
        "architectures": [CLASSES[config.architecture]],
        "model_type": config.architecture,
        **{key: values[0] for key, values in FIXED[config.architecture].items()},
        **{key: getattr(config, key) for key in _dimensions(config.architecture)},
        **({"num_local_experts": config.num_experts} if config.experts else {}),
        **rope_fields(config),
        **_every_layer_alike(config),
        **({} if unpadded in (None, config.vocab_size) else {UNPADDED: unpadded}),
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def _every_layer_alike(config: ModelConfig) -> dict[str, Any]:
    """What a Qwen's reader would make up: no layer sees a window of the text, and no layer has another router."""
    if config.architecture == "llama":
        return {}
    layers = config.num_hidden_layers
    fields = {"sliding_window": None, "max_window_layers": layers, "layer_types": ["full_attention"] * layers}
    return {**fields, **({"output_router_logits": False} if config.experts else {})}


def generation_config(
    *, eos: int, bos: int | None, pad: int | None, ends: Sequence[int] | None = None
) -> dict[str, Any]:
    """`generation_config.json`: where a text ends. No length: transformers warns of one at every call.

    ends: all ids that end a text, where there are more than EOS: a chat model ends its turn with another.
    """
    ends = [eos] if ends is None else list(ends)
    return {
        "bos_token_id": bos,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
        "pad_token_id": pad,
        "do_sample": False,
    }


def _dimensions(architecture: Architecture) -> tuple[str, ...]:
    return (*DIMENSIONS, *(EXPERT_KEYS if architecture == "qwen3_moe" else ()))


def from_hf_config(fields: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """Our config of a Hugging Face model. Raises UserError that names each field that we would not compute exactly."""
    _check_kinds(fields, where)
    kind = fields.get("model_type")
    if kind not in READ_AS:
        why = REFUSED.get(kind or "", f"not one of {', '.join(READ_AS)}")
        _refuse([f"model_type: {'missing' if kind is None else repr(kind)}, {why}"], where)
    architecture = READ_AS[kind]
    fields = {**fields, **_number_of_experts(fields)}
    defaults = TRANSFORMERS_DEFAULTS[kind]
    names = _dimensions(architecture)
    problems = _what_differs(fields, architecture)
    problems += [f"{key}: missing" for key in names if key not in fields and key not in defaults]
    values: dict[str, Any] = {key: fields.get(key, defaults.get(key)) for key in names}
    theta, scaling = read_rope(fields, values["max_position_embeddings"], problems)
    if problems:
        _refuse(problems, where)
    try:
        return ModelConfig(architecture=architecture, **values, rope_theta=theta, rope_scaling=scaling)
    except pydantic.ValidationError as error:
        raise UserError("not a model's config", where=where, found=explained(error)) from None


def _check_kinds(fields: Mapping[str, Any], where: str) -> None:
    """Raise UserError where a field holds what no config has there, such as text for a number."""
    stretched = [value for key in ("rope_scaling", "rope_parameters") if isinstance(value := fields.get(key), dict)]
    for place in (fields, *stretched):
        for key, kinds in KINDS.items():
            if (value := place.get(key)) is not None and not isinstance(value, kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise UserError("not a model's config", where=where, found=f"{key}: {value!r}", wanted=wanted)


def _refuse(problems: list[str], where: str) -> NoReturn:
    way_out = (
        "convert or choose a plain Llama, Mistral, Qwen2 or Qwen3: no other biases, no sliding window, rotary "
        "positions as they are or stretched by linear, llama3 or yarn, experts in every layer or in none"
    )
    found = "; ".join(problems)
    raise UserError("this model cannot be represented exactly", where=where, found=found, way_out=way_out)


def _number_of_experts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5 writes the number of experts as `num_local_experts`; all others know `num_experts`."""
    written = fields.get("num_local_experts")
    return {"num_experts": written} if written is not None and "num_experts" not in fields else {}


def _code_of_its_own(fields: Mapping[str, Any]) -> list[str]:
    """The classes that the folder brings along, but for a tokenizer: what they compute, only they say."""
    classes = [value for key, value in (fields.get("auto_map") or {}).items() if not key.startswith("AutoTokenizer")]
    why = "code of its own, which may compute something else (if it does not, take auto_map out of this file)"
    return [f"auto_map: {', '.join(map(str, classes))}, {why}"] if classes else []


def _window_of_mistral(fields: Mapping[str, Any]) -> list[str]:
    """Its sliding window, where a token of the longest text would not see all before it. Missing, it is 4,096."""
    window = fields.get("sliding_window", 4096)
    longest = fields.get("max_position_embeddings", TRANSFORMERS_DEFAULTS["mistral"]["max_position_embeddings"])
    if window is None or longest is None or window >= longest:
        return []
    return [f"sliding_window: {window}, under max_position_embeddings {longest}"]


def _what_differs(fields: Mapping[str, Any], architecture: Architecture) -> list[str]:
    """The fields that ask for another computation than ours, each with what it holds."""
    fixed: dict[str, tuple[Any, ...]] = {**FIXED[architecture], **FIXED_WHERE_SAID[architecture]}
    problems = _code_of_its_own(fields)
    problems += _window_of_mistral(fields) if fields.get("model_type") == "mistral" else []
    if architecture != "llama":
        every = ["full_attention"] * int(fields.get("num_hidden_layers") or 0)
        fixed["layer_types"] = (None, every)
        if fields.get("use_sliding_window"):
            fixed["sliding_window"] = (None,)
    problems += [
        f"{key}: {value!r}, not {allowed[0]!r}"
        for key, allowed in fixed.items()
        if (value := fields.get(key, allowed[0])) not in allowed
    ]
    known = {*_dimensions(architecture), *fixed, *WITHOUT_EFFECT}
    if architecture != "llama" or fields.get("model_type") == "mistral":
        known.add("sliding_window")  # looked at already, or says nothing while use_sliding_window is off
    if architecture == "qwen3_moe":
        known.add("num_local_experts")
        if (written := fields.get("num_local_experts")) not in (None, fields.get("num_experts")):
            problems.append(f"num_experts {fields.get('num_experts')} and num_local_experts {written}")
    return problems + [f"{key}: unknown here" for key in fields if key not in known]
