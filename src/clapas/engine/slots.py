"""Which piece of which parameter this rank's optimizer steps, for each way in which DeepSpeed lays it out.

A slot is that piece: elements of one parameter, and where they lie in the tensor that the optimizer owns (a flat
partition, or the whole parameter). The layouts are DeepSpeed's private attributes: its public ones gather whole
parameters and are wrong with `round_robin_gradients`. `engine.TESTED_DEEPSPEED` guards them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True)
class Slot:
    """Elements [offset, offset + length) of parameter `name`, at [start, start + length) of `owner.view(-1)`.

    shape: the parameter's full shape. replicated: every rank holds the same (no sharding).
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    length: int
    owner: torch.Tensor
    start: int
    replicated: bool = False


def slots(engine: Any) -> Iterator[Slot]:
    """The slots of a DeepSpeed engine on this rank; tied parameters once, under their first name."""
    optimizer = engine.optimizer
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    for attribute, layout in LAYOUTS.items():
        if hasattr(optimizer, attribute):
            return layout(optimizer, names)
    return _plain(optimizer, names)


def _stage_3(optimizer: Any, names: dict[int, str]) -> Iterator[Slot]:
    """Each parameter is cut into equal parts, one a rank, padded at the end; a sub-group's parts follow each other."""
    for group, parameters in enumerate(optimizer.fp16_groups):
        start = 0
        for parameter in parameters:
            part = parameter.ds_tensor.ds_numel
            offset = part * optimizer._get_param_partition_rank(parameter)
            length = max(0, min(part, parameter.ds_numel - offset))
            shape = tuple(parameter.ds_shape)
            yield Slot(
                names[id(parameter)], shape, offset, length, optimizer.fp32_partitioned_groups_flat[group], start
            )
            start += part


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
