"""Slots of a model that no engine holds."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from clapas.engine.slots import Slot


def plain_slots(model: nn.Module) -> Iterator[Slot]:
    """The parameters of one rank without ZeRO."""
    for name, parameter in model.named_parameters():
        yield Slot(name, tuple(parameter.shape), 0, parameter.numel(), parameter, 0, replicated=True)
