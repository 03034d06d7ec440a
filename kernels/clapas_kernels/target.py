"""Which accelerator an operation shapes its launch for: how many multiprocessors, how wide a warp, whose compiler.

An operation asks `target_of(tensor.device)` and nothing else, so that the proof can stand in for any accelerator on a
machine that has none: `with assume(TARGETS["gfx942"]):` makes every launch choose what it would choose there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch


@dataclass(frozen=True, slots=True)
class Target:
    """An accelerator, as far as a launch depends on it.

    name: the compiler's name of its architecture.
    multiprocessors: streaming multiprocessors (NVIDIA) or compute units of one die (AMD).
    warp_size: lanes that run together (AMD: a wavefront).
    """

    name: str
    backend: Literal["cuda", "hip"]
    multiprocessors: int
    warp_size: int


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", "cuda", 108, 32),  # A100
        Target("sm_90", "cuda", 132, 32),  # H100 SXM
        Target("sm_100", "cuda", 148, 32),  # B200
        Target("gfx90a", "hip", 110, 64),  # one die of an MI250X
        Target("gfx942", "hip", 304, 64),  # MI300X
    )
}
"""What the proof compiles for."""

ASSUMED_ON_CPU = TARGETS["sm_90"]
"""What a launch in the interpreter is shaped for, where nothing else is assumed."""

_assumed: ContextVar[Target | None] = ContextVar("_assumed", default=None)


@contextmanager
def assume(target: Target, multiprocessors: int | None = None) -> Iterator[Target]:
    """Shape all launches within for `target`, with another count of multiprocessors where given."""
    if multiprocessors is not None:
        target = dataclasses.replace(target, multiprocessors=multiprocessors)
    token = _assumed.set(target)
    try:
        yield target
    finally:
        _assumed.reset(token)


def target_of(device: torch.device) -> Target:
    """The accelerator behind `device`: what is assumed, else what is there, else `ASSUMED_ON_CPU`."""
    if assumed := _assumed.get():
        return assumed
    if device.type != "cuda":
        return ASSUMED_ON_CPU
    return _present(device.index if device.index is not None else torch.cuda.current_device())


@cache
def _present(index: int) -> Target:
    properties = torch.cuda.get_device_properties(index)
    if torch.version.hip:
        name = properties.gcnArchName.split(":")[0]
        return Target(name, "hip", properties.multi_processor_count, properties.warp_size)
    name = f"sm_{properties.major}{properties.minor}"
    return Target(name, "cuda", properties.multi_processor_count, properties.warp_size)
