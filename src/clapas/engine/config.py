"""The recipe's section on how a model is spread over ranks, and in which precision it trains."""

from __future__ import annotations

from math import gcd
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PositiveInt, model_validator

from clapas.model.config import ComputeConfig, ModelConfig
from clapas.recipe.typed import Section


def _refuse_fp8(value: object) -> object:
    if value == "fp8":
        raise ValueError(
            "fp8 is not offered yet: its matrix products need kernels that do not exist here; way out: precision: bf16"
        )
    return value


Precision = Annotated[Literal["fp32", "bf16", "fp16"], BeforeValidator(_refuse_fp8)]
"""What the model computes in. In bf16 and fp16 the optimizer keeps fp32 masters, and gradients are accumulated and
reduced in fp32. fp16 scales the loss dynamically: for GPUs without bf16 (V100)."""

REFUSED = {
    "pipeline": (
        "pipeline parallelism is not offered: ZeRO-3 with full activation checkpointing trains the largest model "
        "planned, 70B on 64 nodes of 4 GPUs of 80 GB, in about 26 GB a GPU; way out: zero_stage: 3"
    ),
    "mics": "MiCS is not offered: DeepSpeed removed it (0.19.8 rejects mics_shard_size); way out: hpz, its successor",
    "offload=nvme": (
        "nvme is not offered: DeepSpeed compiles its disk access on each machine at the first start, and keeps the "
        "optimizer's state in files that an exact checkpoint does not see; way out: offload: cpu"
    ),
}
"""Keys of the field, or their values, that are known and not offered: each with the reason and the way out."""


class ParallelConfig(Section):
    """How the ranks share the work, and where the training state lies. See `engine.layout`.

    No key changes a run's result but by rounding, save the two quantized ones.

    zero_stage: what DeepSpeed ZeRO shards over the data-parallel ranks (Rajbhandari et al., 2020): 0 nothing,
        1 optimizer states, 2 and gradients, 3 and parameters.
    tensor: ranks that share each layer's weight matrices, for a model too large for one (Shoeybi et al., 2019). They
        talk in every layer: keep them within a node.
    sequence: ranks that share each sample's tokens, for contexts too long for one (Ulysses: Jacobs et al., 2023).
    offload: `cpu` keeps the optimizer's states in the host's memory and steps there (ZeRO-Offload, Ren et al., 2021).
    offload_parameters: with offload: cpu at stage 3, the parameter shards too.
    hpz: at stage 3, ranks that hold one whole copy of the 16-bit weights among them, so that backward gathers inside
        that group: the ranks of a node (ZeRO++, Wang et al., 2023). 1: off.
    quantized_weights, quantized_gradients: at stage 3, ZeRO++'s int8 gathering and int4 reduction. GPUs only.
    reduce_precision: what gradients are summed in over the ranks; the run's own 16-bit precision halves the traffic.
    """

    also_called: ClassVar[dict[str, str]] = {
        "stage": "zero_stage",
        "zero": "zero_stage",
        "zero_optimization": "zero_stage",
        "tensor_parallel_size": "tensor",
        "autotp_size": "tensor",
        "sequence_parallel_size": "sequence",
        "context_parallel_size": "sequence",
        "offload_optimizer": "offload",
        "cpu_offload": "offload",
        "offload_param": "offload_parameters",
        "zero_hpz_partition_size": "hpz",
        "zero_quantized_weights": "quantized_weights",
        "zero_quantized_gradients": "quantized_gradients",
        "communication_data_type": "reduce_precision",
    }

    zero_stage: Literal[0, 1, 2, 3] = 1
    tensor: PositiveInt = 1
    sequence: PositiveInt = 1
    offload: Literal["none", "cpu"] = "none"
    offload_parameters: bool = False
    hpz: PositiveInt = 1
    quantized_weights: bool = False
    quantized_gradients: bool = False
    reduce_precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    @model_validator(mode="before")
    @classmethod
    def _known_but_refused(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name, reason in REFUSED.items():
                key, _, value = name.partition("=")
                if key in values and value in ("", values[key]):
                    raise ValueError(f"{key}: {reason}")
        return values

    @model_validator(mode="after")
    def _options_belong_to_stages(self) -> ParallelConfig:
        stage = self.zero_stage
        if self.offload != "none" and stage == 0:
            raise ValueError("offload: has nothing to move at zero_stage 0; way out: zero_stage: 1")
        if self.offload_parameters and (stage != 3 or self.offload == "none"):
            raise ValueError("offload_parameters: needs zero_stage: 3 and offload: cpu")
        for key, given in (
            ("hpz", self.hpz > 1),
            ("quantized_weights", self.quantized_weights),
            ("quantized_gradients", self.quantized_gradients),
        ):
            if given and stage != 3:
                raise ValueError(f"{key}: has a meaning at zero_stage 3 only; found zero_stage {stage}")
        return self


def check_precision(precision: Precision, parallel: ParallelConfig) -> None:
    """Whether gradients are summed in fp32 or in what they are computed in. Raises ValueError that names the key."""
    if parallel.reduce_precision not in ("fp32", precision):
        raise ValueError(
            f"parallel.reduce_precision: found {parallel.reduce_precision}; must be fp32"
            + ("" if precision == "fp32" else f" or the run's precision, which is {precision}")
        )


def check_shares(parallel: ParallelConfig, model: ModelConfig, sequence_length: int) -> None:
    """Whether heads, feed-forward layer and sequence can be cut. Raises ValueError that names key, value and way out.

    Ulysses gives each sequence rank whole heads of those that its tensor rank holds: both sizes divide them together.
    """
    heads = {
        "model.num_key_value_heads": model.num_key_value_heads,
        "model.num_attention_heads": model.num_attention_heads,
    }
    tensor, sequence = parallel.tensor, parallel.sequence
    if model.experts is not None and tensor > 1:  # they are no Linear layers: AutoTP would leave them whole
        raise ValueError(
            f"parallel.tensor: found {tensor}; model.architecture qwen3_moe is not cut so: leave it at 1 and use "
            "parallel.zero_stage=3, which shards the experts over all ranks"
        )
    _check_divides("parallel.tensor", tensor, {**heads, "model.intermediate_size": model.intermediate_size})
    left = {f"{name} / parallel.tensor" if tensor > 1 else name: count // tensor for name, count in heads.items()}
    _check_divides("parallel.sequence", sequence, {**left, "data.sequence_length": sequence_length})


def check_tensor(parallel: ParallelConfig, precision: str, compute: ComputeConfig) -> None:
    """Whether DeepSpeed's tensor parallelism is exact with the rest. Raises ValueError that names key and way out.

    Measured with 2 ranks: see docs/decisions/046.
    """
    if parallel.tensor == 1:
        return
    if parallel.zero_stage == 0 and precision != "fp32":
        raise ValueError(
            f"parallel.zero_stage: found 0 with parallel.tensor: {parallel.tensor} and precision: {precision}, where "
            "DeepSpeed takes a part of the gradient's norm for the whole; way out: zero_stage: 1"
        )
    if compute.activation_checkpointing == "selective":
        raise ValueError(
            f"compute.activation_checkpointing: found selective with parallel.tensor: {parallel.tensor}, which changes "
            "the held products in place, so that gradients come out wrong; way out: none or full"
        )


def _check_divides(key: str, size: int, extents: dict[str, int]) -> None:
    for name, extent in extents.items():
        if extent % size:
            common = gcd(*extents.values())
            sizes = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
            raise ValueError(f"{key}: found {size}; must divide {name}, which is {extent}; possible here: {sizes}")
