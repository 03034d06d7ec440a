"""Recipe -> DeepSpeed's configuration: complete, explicit, and derived without importing DeepSpeed.

DeepSpeed accepts some unknown keys silently, so nothing of it is ever taken from the user: the recipe is typed, and
this function is the only author of the JSON (`segments/NNN/deepspeed.json` in the run's folder).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clapas.engine.layout import layout_of
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.recipe.recipe import Recipe

BUCKET = 500_000_000  # elements reduced at once: DeepSpeed's default
NEVER = 2**31  # steps between DeepSpeed's own progress lines: Clapas prints its own


def gradient_accumulation(recipe: Recipe, world_size: int) -> tuple[int, int]:
    """(micro-batch, accumulation steps) of one rank. Raises UserError where the global batch cannot be split so."""
    batch, readers = recipe.train.global_batch_size, layout_of(recipe, world_size).data
    if batch % readers:
        raise UserError(
            "train.global_batch_size cannot be shared equally among the ranks",
            where=recipe.place("train.global_batch_size"),
            found=f"{batch} samples on {readers} ranks",
            wanted=f"a multiple of {readers}",
            way_out=f"train.global_batch_size={-(-batch // readers) * readers}",
        )
    share = batch // readers
    micro = recipe.train.micro_batch_size or share
    if share % micro:
        raise UserError(
            "train.micro_batch_size does not divide a rank's share of the global batch",
            where=recipe.place("train.micro_batch_size"),
            found=f"micro-batch {micro}; {batch} samples on {readers} ranks leave {share} each",
            wanted=f"one of {', '.join(str(size) for size in range(1, share + 1) if share % size == 0)}",
            way_out=f"train.micro_batch_size={max(size for size in range(1, micro + 1) if share % size == 0)}",
        )
    return micro, share // micro


def deepspeed_config(recipe: Recipe, world_size: int) -> dict[str, Any]:
    """DeepSpeed's configuration on `world_size` data-parallel ranks. Raises UserError on an impossible batch."""
    micro, accumulation = gradient_accumulation(recipe, world_size)
    stage = recipe.parallel.zero_stage
    config: dict[str, Any] = {
        "train_batch_size": recipe.train.global_batch_size,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accumulation,
        # without ZeRO and in fp32 DeepSpeed clips but does not tell the norm: the engine clips there itself
        "gradient_clipping": 0.0 if stage == 0 and recipe.precision == "fp32" else recipe.optimizer.gradient_clipping,
        "zero_optimization": _zero(stage, recipe.model.parameters()),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": NEVER,
        "wall_clock_breakdown": False,
    }
    if recipe.precision == "bf16":
        config["bf16"] = {"enabled": True}
        # fp32 gradient accumulation; DeepSpeed has none without ZeRO ("bf16 with stage 0 is not implemented")
        config["data_types"] = {"grad_accum_dtype": "bf16" if stage == 0 else "fp32"}
    return config


def _zero(stage: int, parameters: int) -> dict[str, Any]:
    """The ZeRO section. A bucket no larger than the model: DeepSpeed allocates it anew in every step.

    Gradients are gathered into a contiguous buffer only where they fill several buckets: else it is a copy for nothing
    (measured together: 0.925 -> 0.966 of a bare loop's speed, see benchmarks/RESULTS.md).
    """
    bucket = min(parameters, BUCKET)
    section: dict[str, Any] = {"stage": stage, "reduce_bucket_size": bucket}
    if stage in (1, 2):
        section["contiguous_gradients"] = parameters > bucket
    if stage == 3:
        # DeepSpeed's own linear would replace torch's in the whole process and round bf16 otherwise
        section["memory_efficient_linear"] = False
    return section
