"""A layout as overrides of a recipe: what the command line takes to train in it, whatever the recipe says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clapas.plan.setup import Setup

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

ALWAYS = ("parallel.zero_stage", "compute.activation_checkpointing", "train.micro_batch_size")
"""Keys that are said even where the recipe says the same: a layout is known by them."""
QUANTIZED = ("quantized_weights", "quantized_gradients")


def overrides_of(setup: Setup, recipe: Recipe) -> list[str]:
    """What makes the recipe train in a layout: the three keys of `ALWAYS`, and every other in which it differs."""
    own = own_values(recipe)
    wanted = _values(setup, recipe)
    return [f"{key}={_text(value)}" for key, value in wanted.items() if key in ALWAYS or value != own[key]]


def changed(overrides: list[str], recipe: Recipe) -> list[str]:
    """Those of a layout's overrides that say something else than the recipe."""
    own = own_values(recipe)
    return [f"{key}={value}" for key, _, value in (one.partition("=") for one in overrides) if value != _text(own[key])]


def own_values(recipe: Recipe) -> dict[str, Any]:
    """Key -> what the recipe itself says, for every key that makes a layout."""
    parallel, compute = recipe.parallel, recipe.compute
    names = ("zero_stage", "tensor", "sequence", "hpz", "offload", "offload_parameters")
    return {
        **{f"parallel.{name}": getattr(parallel, name) for name in (*names, *QUANTIZED)},
        "compute.activation_checkpointing": compute.activation_checkpointing,
        "compute.tiled_mlp": compute.tiled_mlp,
        "compute.compile": compute.compile,
        "train.micro_batch_size": recipe.train.micro_batch_size,
        **{key: recipe.all_stages[number].micro_batch_size for number, key in _stage_keys(recipe)},
    }


def _values(setup: Setup, recipe: Recipe) -> dict[str, Any]:
    """Key -> what it must be in a layout."""
    compiled = recipe.compute.compile
    return {
        "parallel.zero_stage": setup.zero_stage,
        "compute.activation_checkpointing": setup.checkpointing,
        "train.micro_batch_size": setup.micro_batch,
        **{key: setup.micro_batch for _, key in _stage_keys(recipe)},
        **{f"parallel.{name}": getattr(setup, name) for name in ("tensor", "sequence", "hpz")},
        "parallel.offload": "cpu" if setup.offload else "none",
        **{f"parallel.{name}": getattr(setup, name) for name in ("offload_parameters", *QUANTIZED)},
        "compute.tiled_mlp": setup.tile,
        # the compiler cannot cross ZeRO-3's hooks: a recipe that insists on it would be refused there
        "compute.compile": None if compiled and setup.zero_stage == 3 else compiled,
    }


def _stage_keys(recipe: Recipe) -> list[tuple[int, str]]:
    """(number, key) of the stages that have a micro-batch of their own, which would win over train's."""
    stages = recipe.stages or ()
    return [
        (number, f"stages.{number}.micro_batch_size")
        for number, stage in enumerate(stages)
        if stage.micro_batch_size is not None
    ]


def _text(value: Any) -> str:
    """As YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
