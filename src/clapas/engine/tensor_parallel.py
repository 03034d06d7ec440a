"""Tensor parallelism: each rank of a group holds a part of every layer's matrices (Shoeybi et al., 2019, Megatron-LM).

DeepSpeed's AutoTP cuts the full weights, which every rank has drawn alike by name, and puts in the collectives. The
first matrices of attention and feed-forward layer are cut by rows of their output (whole heads), the last by columns of
their input, so that each layer sums over its group twice forward and twice backward. Embedding, head and norms stay
whole on every rank, with equal gradients; norms inside a head see their rank's heads only: their gradients are summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clapas.checkpoint.regions import Part
from clapas.engine.deepspeed_schema import LayerSpec, PartitionConfig, TensorParallel

if TYPE_CHECKING:
    import torch

BY_OUTPUT = r".*\.(q_proj|k_proj|v_proj|gate_proj|up_proj)\.weight$"
BY_INPUT = r".*\.(o_proj|down_proj)\.weight$"
IN_HEADS = r".*\.(q_norm|k_norm)\.weight$"


class Shard(NamedTuple):
    """What a tensor rank holds of a parameter of the full `shape`."""

    shape: tuple[int, ...]
    part: Part


def tensor_section(size: int) -> TensorParallel:
    """DeepSpeed's configuration for groups of `size` ranks: explicit patterns, so that nothing is guessed."""
    specs = [
        LayerSpec(patterns=[BY_OUTPUT], partition_type="column"),
        LayerSpec(patterns=[BY_INPUT], partition_type="row"),
        LayerSpec(patterns=[IN_HEADS], partition_type="skip", grad_allreduce=True),
    ]
    return TensorParallel(autotp_size=size, partition_config=PartitionConfig(layer_specs=specs))


def shard_of(parameter: torch.Tensor, rank: int) -> Shard | None:
    """The part of a parameter that tensor rank `rank` holds; None where every rank holds all of it."""
    meta = getattr(parameter, "ds_autotp_universal_checkpoint_meta", None)
    if meta is None or meta["replicated"] or meta["partition_sizes"] is None:
        return None
    sizes = meta["partition_sizes"]
    start = sum(sizes[:rank])
    return Shard(tuple(meta["logical_shape"]), Part(meta["partition_dim"], start, start + sizes[rank]))
