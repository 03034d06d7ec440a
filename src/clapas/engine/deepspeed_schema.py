"""DeepSpeed's configuration as a type: each key that Clapas ever writes, and no other.

DeepSpeed 0.19.8 accepts unknown keys silently at its top level, so a misspelt key there would train with a default
that nobody chose. Here it does not type-check, and pydantic refuses it. Names are DeepSpeed's own
(https://www.deepspeed.ai/docs/config-json/); a test has DeepSpeed's parser read back every one of them.
None: the key is left out, because at that stage or precision it has no meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from clapas.recipe.typed import Section

DType = Literal["fp32", "bf16", "fp16"]


class Offload(Section):
    """Where a part of the state lies when it is not on the device."""

    device: Literal["cpu"] = "cpu"
    pin_memory: bool


class ZeroOptimization(Section):
    """What is sharded, and how it travels. Sizes count elements."""

    stage: int
    reduce_bucket_size: int
    overlap_comm: bool
    contiguous_gradients: bool
    reduce_scatter: bool = True
    round_robin_gradients: bool = False
    # stages 1 and 2
    allgather_partitions: bool | None = None
    allgather_bucket_size: int | None = None
    use_multi_rank_bucket_allreduce: bool | None = None
    # stage 3
    sub_group_size: int | None = None
    stage3_prefetch_bucket_size: int | None = None
    stage3_param_persistence_threshold: int | None = None
    stage3_max_live_parameters: int | None = None
    stage3_max_reuse_distance: int | None = None
    memory_efficient_linear: bool | None = None
    zero_hpz_partition_size: int | None = None
    zero_quantized_weights: bool | None = None
    zero_quantized_gradients: bool | None = None
    # offload
    offload_optimizer: Offload | None = None
    offload_param: Offload | None = None


class Bf16(Section):
    """bf16 weights under fp32 masters."""

    enabled: bool = True
    check_grad_overflow: bool = True


class Fp16(Section):
    """fp16 weights under fp32 masters, and the dynamic scale of the loss."""

    enabled: bool = True
    loss_scale: float = 0.0  # dynamic
    initial_scale_power: int
    loss_scale_window: int
    hysteresis: int
    min_loss_scale: int


class DataTypes(Section):
    """The dtype in which a rank adds up the gradients of its micro-batches."""

    grad_accum_dtype: DType


class LayerSpec(Section):
    """How the parameters whose names match a pattern are cut: `column` by output, `row` by input, `skip` not at all.

    grad_allreduce: where it is not cut but sees a part of the heads only, its gradients are summed over the group.
    """

    patterns: list[str]
    partition_type: Literal["column", "row", "skip"]
    grad_allreduce: bool = False


class PartitionConfig(Section):
    """Every parameter that AutoTP touches; use_default_specs: whether it may guess others."""

    use_default_specs: bool = False
    layer_specs: list[LayerSpec]


class TensorParallel(Section):
    """AutoTP. autotp_size: ranks of a group."""

    autotp_size: int
    partition_config: PartitionConfig


class DeepSpeedConfig(Section):
    """The whole. Batch sizes count samples: train_batch_size over all ranks, the micro-batch on one."""

    train_batch_size: int | None
    train_micro_batch_size_per_gpu: int
    gradient_accumulation_steps: int
    gradient_clipping: float
    communication_data_type: DType
    prescale_gradients: bool = False
    zero_optimization: ZeroOptimization
    zero_allow_untested_optimizer: bool = True
    zero_force_ds_cpu_optimizer: bool = False
    bf16: Bf16 | None = None
    fp16: Fp16 | None = None
    data_types: DataTypes
    tensor_parallel: TensorParallel | None = None
    steps_per_print: int
    wall_clock_breakdown: bool = False

    def as_json(self) -> dict[str, Any]:
        """What DeepSpeed is handed."""
        return self.model_dump(mode="json", exclude_none=True)
