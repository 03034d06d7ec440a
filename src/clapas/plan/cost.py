"""What a run costs besides its steps: days, GPU-hours, energy, carbon, failures, disk."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING

from clapas.plan.hardware import Device
from clapas.plan.setup import Setup
from clapas.plan.shape import Shape
from clapas.plan.site import Energy

if TYPE_CHECKING:
    from clapas.checkpoint.config import CheckpointConfig

COPY_GB_PER_SECOND = 10.0
"""From a device to its host, for a checkpoint that is written beside the training."""
WRITE_GB_PER_SECOND = 1.0
"""Of one node to a parallel file system, where training waits for it."""
GPU_HOURS_PER_FAILURE = 50_000.0
"""419 unexpected interruptions in 54 days of 16,384 H100 (Llama 3, arXiv 2407.21783, section 3.3.4): one in 50,700."""
RESTART_SECONDS = 600.0
"""From a failure to the next step: noticed, queued, started, read."""
HOST_POWER = 1.3
"""A node's power over its accelerators' own: processors, memory, network, fans (DGX H100: 10.2 kW for 8 of 700 W is
1.8 at the most; measured shares under load are lower)."""


@dataclass(frozen=True)
class Cost:
    """Of a whole run. Energy includes the node and the building (PUE).

    stall: share of the time in which checkpoints hold the training up. lost: by failures, to be expected.
    disk: bytes of checkpoints on disk at the most.
    """

    days: float
    gpu_hours: float
    kwh: float
    kgco2e: float
    stall: float
    lost: float
    failures: float
    disk: float


@dataclass(frozen=True)
class Saving:
    """How often a run saves, and how: as `CheckpointConfig` has it. on_disk: states at the most."""

    every: int
    on_disk: int
    asynchronous: bool


def state_bytes(parameters: int, moments: int) -> float:
    """Of one checkpoint: for each parameter its master and the optimizer's moments in fp32 (docs/checkpoints.md)."""
    return 4.0 * (1 + moments) * parameters


def states_on_disk(checkpoint: CheckpointConfig, steps: int) -> int:
    """How many states of a run of so many steps are on disk at once, at the most: no more than it writes at all.

    One more than is kept: the newest is written before an old one goes.
    """
    for_good = steps // lcm(checkpoint.every, checkpoint.keep_every) if checkpoint.keep_every else 0
    return min(checkpoint.keep + for_good + 1, -(-steps // checkpoint.every))


def cost_of(
    shape: Shape, setup: Setup, device: Device, energy: Energy, step_seconds: float, steps: int, saving: Saving
) -> Cost:
    """A run of `steps` such steps."""
    state = state_bytes(shape.trained_size, setup.moments)
    owners = setup.ranks if setup.zero_stage else 1
    if saving.asynchronous:
        pause = state / owners / (COPY_GB_PER_SECOND * 1e9)
    else:
        pause = state / min(setup.nodes, owners) / (WRITE_GB_PER_SECOND * 1e9)
    interval = saving.every * step_seconds + pause
    busy = steps * step_seconds + steps / saving.every * pause
    failures = busy / 3600 * setup.ranks / GPU_HOURS_PER_FAILURE
    repeated = failures * (min(interval, busy) / 2 + RESTART_SECONDS)
    seconds = busy + repeated
    gpu_hours = seconds / 3600 * setup.ranks
    kwh = gpu_hours * device.watts / 1000 * HOST_POWER * energy.pue
    return Cost(
        days=seconds / 86_400,
        gpu_hours=gpu_hours,
        kwh=kwh,
        kgco2e=kwh * energy.grid_gco2e_per_kwh / 1000,
        stall=steps / saving.every * pause / seconds,
        lost=repeated / seconds,
        failures=failures,
        disk=state * saving.on_disk,
    )
