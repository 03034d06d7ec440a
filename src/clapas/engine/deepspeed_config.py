"""Recipe -> DeepSpeed's configuration: complete, explicit, and derived without importing torch or DeepSpeed.

This function is the only author of the JSON (`segments/NNN/deepspeed.json` in the run's folder): nothing of it is ever
taken from the user. What cannot work is found here, before a process starts, and told with the recipe's line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from clapas.engine.deepspeed_schema import Bf16, DataTypes, DeepSpeedConfig, Fp16, Offload, ZeroOptimization
from clapas.engine.layout import layout_of
from clapas.engine.tensor_parallel import tensor_section
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.recipe.phases import Phase
    from clapas.recipe.recipe import Recipe

Device = Literal["cpu", "cuda"]

BUCKET = 250_000_000
"""Elements reduced or gathered at once: 1 GB in fp32, which DeepSpeed's default (500 million) is in 16 bits."""
PREFETCH = 50_000_000
"""Elements that ZeRO-3 gathers ahead of their use: DeepSpeed's default."""
PERSISTENT: dict[Device, int] = {"cuda": 100_000, "cpu": 0}
"""Parameters of up to so many elements stay whole on every rank at ZeRO-3. On a GPU DeepSpeed's default; on a CPU none,
for those are gathered one by one after each step (docs/decisions/078)."""
LIVE = 1_000_000_000
"""Elements that ZeRO-3 holds gathered at once, and optimizer elements of one sub-group: DeepSpeed's default."""
NEVER = 2**31
"""Steps between DeepSpeed's own progress lines: Clapas prints its own."""


def gradient_accumulation(recipe: Recipe, world_size: int) -> list[tuple[int, int]]:
    """(micro-batch, accumulation steps) of one rank in each phase of the run.

    Raises UserError where a global batch cannot be split so.
    """
    readers = layout_of(recipe, world_size).data
    return [_split(recipe, phase, readers) for phase in recipe.phases]


def _split(recipe: Recipe, phase: Phase, readers: int) -> tuple[int, int]:
    """(micro-batch, accumulation steps) of one of the ranks that read, in the steps of one phase."""
    batch, batch_key, micro_key = phase.global_batch_size, *_batch_keys(recipe, phase)
    if batch % readers:
        raise UserError(
            f"{batch_key} cannot be shared equally among the ranks",
            where=recipe.place(batch_key),
            found=f"{batch} samples on {readers} ranks",
            wanted=f"a multiple of {readers}",
            way_out=f"{batch_key}={-(-batch // readers) * readers}",
        )
    share = batch // readers
    micro = phase.micro_batch_size or share
    if share % micro:
        raise UserError(
            f"{micro_key} does not divide a rank's share of the global batch",
            where=recipe.place(micro_key),
            found=f"micro-batch {micro}; {batch} samples on {readers} ranks leave {share} each",
            wanted=f"one of {', '.join(str(size) for size in range(1, share + 1) if share % size == 0)}",
            way_out=f"{micro_key}={max(size for size in range(1, micro + 1) if share % size == 0)}",
        )
    return micro, share // micro


def _batch_keys(recipe: Recipe, phase: Phase) -> tuple[str, str]:
    """Where the recipe says the global batch and the micro-batch of a phase."""
    stage = recipe.all_stages[phase.stage]
    ramped = [until for until, batch in (recipe.train.batch_ramp or {}).items() if batch == phase.global_batch_size]
    batch_key = "train.global_batch_size"
    if stage.global_batch_size is not None:
        batch_key = f"stages[{phase.stage}].global_batch_size"
    elif ramped and phase.global_batch_size != recipe.train.global_batch_size:
        batch_key = f"train.batch_ramp.{ramped[0]}"
    own_micro = stage.micro_batch_size is not None
    return batch_key, f"stages[{phase.stage}].micro_batch_size" if own_micro else "train.micro_batch_size"


def deepspeed_config(recipe: Recipe, world_size: int, device: Device = "cpu") -> dict[str, Any]:
    """DeepSpeed's configuration on `world_size` data-parallel ranks; its batch is the first step's.

    Raises UserError on what cannot work.
    """
    splits = gradient_accumulation(recipe, world_size)
    _check_accumulation(recipe, max(accumulation for _, accumulation in splits))
    micro, accumulation = splits[0]
    _check_hpz(recipe, world_size)
    precision, stage, layout = recipe.precision, recipe.parallel.zero_stage, layout_of(recipe, world_size)
    return DeepSpeedConfig(
        # DeepSpeed counts every rank, and in places every tensor group, as a reader: it then works its own number out
        train_batch_size=recipe.phases.at(1).global_batch_size if layout.data == layout.size else None,
        train_micro_batch_size_per_gpu=micro,
        gradient_accumulation_steps=accumulation,
        # without ZeRO and in fp32 DeepSpeed clips but does not tell the norm: the engine clips there itself
        gradient_clipping=0.0 if stage == 0 and precision == "fp32" else recipe.optimizer.gradient_clipping,
        communication_data_type=recipe.parallel.reduce_precision,
        zero_optimization=_zero(recipe, device),
        bf16=Bf16() if precision == "bf16" else None,
        # as torch's GradScaler: halve at once, try twice the scale after so many sound steps (DeepSpeed's 1000)
        fp16=Fp16(initial_scale_power=16, loss_scale_window=1000, hysteresis=1, min_loss_scale=1)
        if precision == "fp16"
        else None,
        # DeepSpeed without ZeRO accumulates in what it computes in
        data_types=DataTypes(grad_accum_dtype=precision if stage == 0 else "fp32"),
        tensor_parallel=tensor_section(layout.tensor) if layout.tensor > 1 else None,
        steps_per_print=NEVER,
    ).as_json()


def _zero(recipe: Recipe, device: Device) -> ZeroOptimization:
    """The ZeRO section. A bucket no larger than what trains: DeepSpeed allocates it anew in every step."""
    parallel, parameters = recipe.parallel, recipe.trained_parameters
    bucket = min(parameters, BUCKET)
    bucket += bucket % 2  # DeepSpeed wants even ones
    on_host = Offload(pin_memory=device == "cuda") if parallel.offload == "cpu" else None
    common: dict[str, Any] = {
        "stage": parallel.zero_stage,
        "reduce_bucket_size": bucket,
        # hides the reduction behind backward on a GPU's second stream, which a CPU does not have
        "overlap_comm": device == "cuda" and parallel.zero_stage > 0,
        # a copy for nothing unless the gradients fill several buckets, or must be sent elsewhere
        "contiguous_gradients": parallel.zero_stage == 3 or on_host is not None or parameters > bucket,
        "offload_optimizer": on_host,
    }
    if parallel.zero_stage < 3:
        return ZeroOptimization(
            **common, allgather_partitions=True, allgather_bucket_size=bucket, use_multi_rank_bucket_allreduce=True
        )
    return ZeroOptimization(
        **common,
        sub_group_size=LIVE,
        stage3_prefetch_bucket_size=min(max(bucket, recipe.model.parameters()), PREFETCH),
        stage3_param_persistence_threshold=PERSISTENT[device],
        stage3_max_live_parameters=LIVE,
        stage3_max_reuse_distance=LIVE,
        memory_efficient_linear=False,  # it replaces torch's linear in the whole process, and rounds bf16 otherwise
        zero_hpz_partition_size=parallel.hpz,
        zero_quantized_weights=parallel.quantized_weights,
        zero_quantized_gradients=parallel.quantized_gradients,
        offload_param=on_host if parallel.offload_parameters else None,
    )


def _check_accumulation(recipe: Recipe, accumulation: int) -> None:
    """Without ZeRO, DeepSpeed adds micro-batches up in 16 bits: small gradients vanish against their sum."""
    if recipe.precision == "fp32" or recipe.parallel.zero_stage > 0 or accumulation == 1:
        return
    raise UserError(
        f"parallel.zero_stage 0 cannot accumulate {recipe.precision} gradients in fp32",
        where=recipe.place("parallel.zero_stage"),
        found=f"{accumulation} micro-batches a step",
        wanted="zero_stage 1 or more, or one micro-batch a step",
        way_out="parallel.zero_stage=1",
    )


def _check_hpz(recipe: Recipe, world_size: int) -> None:
    """The groups of hpZ are equal and consecutive, there are several of them, and each holds whole weights."""
    hpz, tensor = recipe.parallel.hpz, recipe.parallel.tensor
    if hpz == 1:
        return
    where = recipe.place("parallel.hpz")
    if tensor > 1:
        raise UserError(
            "parallel.hpz groups neighbouring ranks, which with parallel.tensor hold other weights",
            where=where,
            found=f"hpz {hpz}, tensor {tensor}",
            wanted="one of the two",
            way_out="parallel.hpz=1, or parallel.tensor=1",
        )
    sizes = [size for size in range(2, world_size) if world_size % size == 0]
    if hpz not in sizes:
        raise UserError(
            "parallel.hpz does not cut the ranks into equal groups",
            where=where,
            found=f"groups of {hpz} on {world_size} ranks",
            wanted=f"one of {', '.join(map(str, sizes))}" if sizes else "more ranks",
            way_out=f"parallel.hpz={max((size for size in sizes if size <= hpz), default=1)}",
        )


def check_device(recipe: Recipe, device: Device) -> None:
    """Whether this device has what the recipe asks of it. Raises UserError."""
    for key in ("quantized_weights", "quantized_gradients"):
        if getattr(recipe.parallel, key) and device == "cpu":
            raise UserError(
                f"parallel.{key} needs a GPU: DeepSpeed quantises in CUDA code only",
                where=recipe.place(f"parallel.{key}"),
                found="no GPU",
                way_out=f"parallel.{key}=false, or train on GPUs",
            )
