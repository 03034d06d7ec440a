"""Adapters as PEFT keeps them: a folder with `adapter_config.json` and `adapter_model.safetensors`, both ways.

Its tensors have the names of ours after `base_model.model.`. Written as PEFT 0.21 writes a `LoraConfig`, every field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clapas.checkpoint.tensor_file import stream_tensors
from clapas.model.lora_config import LoraConfig
from clapas.recipe.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
PEFT_VERSION = "0.21.2"
"""The release whose fields are written, and with which the tests read them."""

OTHERS: dict[str, Any] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": None,
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "kasa_config": None,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_bias": False,
    "lora_dropout": 0.0,
    "lora_ga_config": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "monteclora_config": None,
    "peft_type": "LORA",
    "peft_version": PEFT_VERSION,
    "qalora_group_size": 16,
    "rank_pattern": {},
    "revision": None,
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_qalora": False,
    "velora_config": None,
}
"""Fields of a `LoraConfig` that do not depend on ours."""
NEED_TO_BE = (
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "bias", "fan_in_fan_out", "kasa_config",
    "layer_replication", "lora_bias", "modules_to_save", "monteclora_config", "peft_type", "rank_pattern",
    "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora",
)  # fmt: skip
"""Of these, those of which another value means other arithmetic than ours: an adapter to begin with must have it."""
ONLY_DRAWN = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` under which the base stays as it is. Others (PiSSA, OLoRA, LoftQ, CorDA) change it, and
their adapters belong to the changed one, until PEFT converts them as it saves."""


def peft_config(lora: LoraConfig, base: str | None) -> dict[str, Any]:
    """adapter_config.json. base: the folder, or the name on the Hub, of the model that the adapter belongs to."""
    fields = {
        **OTHERS,
        "base_model_name_or_path": base,
        "lora_alpha": int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,
        "r": lora.rank,
        "target_modules": list(lora.projections),
        "use_dora": lora.dora,
        "use_rslora": lora.rslora,
    }
    return dict(sorted(fields.items()))


def write_adapter(
    folder: Path, lora: LoraConfig, shapes: Mapping[str, tuple[int, ...]], tensor_of: Callable[[str], Tensor], base: str
) -> None:
    """Write both files. shapes: of the adapters' parameters, by our names; tensor_of: gives one, of any dtype."""
    entries = {PREFIX + name: (torch.float32, shape) for name, shape in shapes.items()}
    stream_tensors(
        folder / WEIGHTS, entries, lambda stored: tensor_of(stored.removeprefix(PREFIX)).float().contiguous()
    )
    (folder / CONFIG).write_bytes(orjson.dumps(peft_config(lora, base), option=orjson.OPT_INDENT_2) + b"\n")


def read_adapter(folder: Path, lora: LoraConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The values of an adapter's parameters by our names, which must be those of `shapes`, in fp32.

    Raises UserError where the folder is none of PEFT's, or its adapter computes otherwise than `lora` says.
    """
    fields = _fields(folder)
    ours = peft_config(lora, None)
    keys = {"r": "lora.rank", "lora_alpha": "lora.alpha", "use_dora": "lora.dora", "use_rslora": "lora.rslora"}
    for field, key in keys.items():
        if fields.get(field, False) != ours[field]:
            raise UserError(
                "the adapter to begin with is another one than the recipe's",
                where=folder / CONFIG,
                found=f"{field} {fields.get(field)}",
                wanted=f"{ours[field]}, which {key} says",
                way_out=f"{key}={fields.get(field)}",
            )
    if wrong := {key: fields[key] for key in NEED_TO_BE if fields.get(key) and fields[key] != OTHERS[key]}:
        found = ", ".join(f"{key}: {value}" for key, value in wrong.items())
        raise UserError("an adapter with parts that Clapas does not have", where=folder / CONFIG, found=found)
    if (drawn := fields.get("init_lora_weights")) not in ONLY_DRAWN:
        raise UserError(
            "an adapter of another base than the model itself",
            where=folder / CONFIG,
            found=f"init_lora_weights: {drawn}",
            way_out="save it with PEFT's path_initial_model_for_weight_conversion, which makes it a plain one",
        )
    return _tensors(folder / WEIGHTS, shapes)


def _fields(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise UserError("no adapter in PEFT's format", where=folder, wanted=f"{CONFIG} and {WEIGHTS}")
    try:
        fields = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=path) from None
    if not isinstance(fields, dict):
        raise UserError("not an adapter's config", where=path, found=type(fields).__name__, wanted="an object")
    return fields


def _tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    try:
        file: Any = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise UserError("not a whole safetensors file", where=path, found=str(error)) from None
    stored = {name.removeprefix(PREFIX): name for name in file.keys()}  # noqa: SIM118 not a mapping
    found = {name: tuple(file.get_slice(name_there).get_shape()) for name, name_there in stored.items()}
    differing = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
    if differing:
        name = differing[0]
        raise UserError(
            f"the adapter's tensors are not those of the recipe's lora.targets and model: {name}",
            where=path,
            found=f"shape {found.get(name, 'not there')}",
            wanted=f"shape {shapes.get(name, 'not there')}",
        )
    return {name: file.get_tensor(stored[name]).float() for name in shapes}
