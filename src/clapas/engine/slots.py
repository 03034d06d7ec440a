"""Which piece of which parameter this rank's optimizer steps, for each way in which DeepSpeed lays it out.

A slot is that piece: elements of one parameter, and where they lie in the tensor that the optimizer owns (a flat
partition, or the whole parameter). A frozen parameter owns itself. The layouts are DeepSpeed's private attributes: its
public ones gather whole parameters and are wrong with `round_robin_gradients`. `TESTED_DEEPSPEED` guards them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from clapas.checkpoint.regions import Part, region_of
from clapas.engine.tensor_parallel import shard_of


@dataclass(frozen=True, slots=True)
class Slot:
    """Elements [offset, offset + length) of parameter `name`, at [start, start + length) of `owner.view(-1)`.

    shape: the parameter's full shape. part: the slice of it of which these are elements; None: the whole.
    replicated: every rank holds the same (no ZeRO). on_all_tensor_ranks: every tensor rank holds the same.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    length: int
    owner: torch.Tensor
    start: int
    replicated: bool = False
    part: Part | None = None
    on_all_tensor_ranks: bool = True


def slots(engine: Any) -> Iterator[Slot]:
    """The slots of a DeepSpeed engine on this rank; tied parameters once, under their first name."""
    optimizer = engine.optimizer
    parameters = dict(engine.module.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items()}
    layout = next((LAYOUTS[attribute] for attribute in LAYOUTS if hasattr(optimizer, attribute)), _plain)
    held = list(layout(optimizer, names))
    known = {slot.name for slot in held}
    tensor_rank = engine.get_tensor_parallel_rank() if engine.autotp_size() > 1 else 0
    frozen = {name: p for name, p in parameters.items() if not p.requires_grad and name not in known}
    for slot in [*held, *(_frozen(optimizer, name, parameter) for name, parameter in frozen.items())]:
        yield _in_whole(slot, parameters[slot.name], tensor_rank)


def _in_whole(slot: Slot, parameter: nn.Parameter, tensor_rank: int) -> Slot:
    """A slot of what a tensor rank holds, as one of the whole parameter."""
    shard = shard_of(parameter, tensor_rank)
    if shard is None:
        return slot
    region = region_of(shard.shape, shard.part, slot.offset, slot.length)
    return replace(slot, shape=shard.shape, part=region.part, offset=region.offset, on_all_tensor_ranks=False)


def _frozen(optimizer: Any, name: str, parameter: Any) -> Slot:
    """A parameter that no optimizer steps: ZeRO-3 shards it like the others, else every rank holds it."""
    if not hasattr(parameter, "ds_tensor"):
        return Slot(name, tuple(parameter.shape), 0, parameter.numel(), parameter, 0, replicated=True)
    return _sharded(optimizer, name, parameter, parameter.ds_tensor, 0)


def _sharded(optimizer: Any, name: str, parameter: Any, owner: torch.Tensor, start: int) -> Slot:
    """ZeRO-3's part of a parameter: it is cut into equal parts, one a rank, padded at the end."""
    part = parameter.ds_tensor.ds_numel
    offset = part * optimizer._get_param_partition_rank(parameter)
    length = max(0, min(part, parameter.ds_numel - offset))
    return Slot(name, tuple(parameter.ds_shape), offset, length, owner, start)


def _stage_3(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """A sub-group's parts of parameters follow each other."""
    for group, parameters in enumerate(optimizer.fp16_groups):
        owner, start = optimizer.fp32_partitioned_groups_flat[group], 0
        for parameter in parameters:
            yield _sharded(optimizer, names[id(parameter)], parameter, owner, start)
            start += parameter.ds_tensor.ds_numel


def _stages_1_and_2(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """A group's parameters are laid end to end and the whole is cut into equal partitions, one a rank."""
    for group, parameters in enumerate(optimizer.round_robin_bit16_groups):
        size = optimizer.partition_size[group]
        begin = size * dist.get_rank(optimizer.real_dp_process_group[group])
        offsets, shapes = optimizer.round_robin_bit16_offsets[group], optimizer.round_robin_bit16_meta[group]
        owner = optimizer.single_partition_of_fp32_groups[group]
        for parameter, at, like in zip(parameters, offsets, shapes, strict=True):
            low, high = max(at, begin), min(at + like.numel(), begin + size)
            if low < high:
                yield Slot(names[id(parameter)], tuple(like.shape), low - at, high - low, owner, low - begin)


def _bf16_fp32_accumulation(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """Stage 1 in bf16 with fp32 gradients: DeepSpeed's BF16_Optimizer keeps the mapping on the parameter."""
    for group, parameters in enumerate(optimizer.bf16_groups):
        owner = optimizer.fp32_groups_flat_partition[group]
        for parameter in parameters:
            mapping = parameter._hp_mapping  # None: nothing of this parameter is in this rank's partition
            if mapping is not None:
                low, high = mapping.lp_fragment_address, mapping.hp_fragment_address
                yield Slot(names[id(parameter)], tuple(parameter.shape), low.start, low.numel, owner, high.start)


def _unfused(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """No ZeRO, bf16: an fp32 master beside each parameter, on every rank."""
    for group, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
        for parameter, master in zip(group, masters, strict=True):
            yield Slot(names[id(parameter)], tuple(parameter.shape), 0, parameter.numel(), master, 0, replicated=True)


def _plain(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """No ZeRO, fp32: the parameter is its own master, on every rank."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield Slot(
                names[id(parameter)], tuple(parameter.shape), 0, parameter.numel(), parameter, 0, replicated=True
            )


LAYOUTS: dict[str, Callable[[Any, dict[int, str]], Iterator[Slot]]] = {
    "fp32_partitioned_groups_flat": _stage_3,
    "single_partition_of_fp32_groups": _stages_1_and_2,
    "fp32_groups_flat_partition": _bf16_fp32_accumulation,
    "fp32_groups": _unfused,
}
"""The attribute by which each of DeepSpeed's optimizers is known -> its layout."""


def aliases(module: nn.Module) -> dict[str, str]:
    """Tied parameters: each further name -> the first one."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name: first[id(parameter)] for name, parameter in every if first[id(parameter)] != name}


@torch.no_grad()
def refresh_parameters(engine: Any) -> None:
    """Bring the weights that the model computes with up to date with the masters. Collective."""
    optimizer = engine.optimizer
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        optimizer._partition_all_parameters()  # small ones stay gathered between steps
        for group in range(len(optimizer.fp16_groups)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        optimizer.checkpoint_event_epilogue()
    elif hasattr(optimizer, "single_partition_of_fp32_groups"):
        optimizer.update_lp_params()
        for group in range(len(optimizer.bit16_groups)):
            optimizer._update_model_bit16_weights(group)
    elif hasattr(optimizer, "fp32_groups_flat_partition"):
        optimizer.update_lp_params()
    elif hasattr(optimizer, "fp32_groups"):
        for group, masters in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for parameter, master in zip(group, masters, strict=True):
                parameter.data.copy_(master.data)


def prepare_to_read(engine: Any) -> None:
    """Make the masters readable: ZeRO-3 hands its gathered parameters back first. Collective."""
    if hasattr(engine.optimizer, "fp32_partitioned_groups_flat"):
        engine.optimizer._partition_all_parameters()
        engine.optimizer.checkpoint_event_epilogue()
