"""The joules of one rank's share of a run: from the best source that this machine lets be read.

Each source has its boundary, and only one is used at a time: joules within different boundaries do not add up. A
counter of a whole node is read by the node's first rank alone. Reading never fails: what cannot be read is NaN, which
a sum over the ranks keeps, and the run says "not measured".
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Sequence

import torch

from clapas.train.energy.counter import Counter
from clapas.train.energy.cray import cray_counters
from clapas.train.energy.hwmon import hwmon_counters
from clapas.train.energy.nvml import nvml_counters
from clapas.train.energy.rapl import rapl_counters
from clapas.train.energy.slurm import slurm_counters

WHOLE_NODES = "whole nodes"
WHOLE_NODES_BY_SLURM = "whole nodes, as Slurm counts them"
GPU_BOARDS = "GPU boards"
CPU_PACKAGES = "CPU packages and memory, other processes included"
NOTHING = "nothing"
BOUNDARIES = (WHOLE_NODES, GPU_BOARDS, CPU_PACKAGES, WHOLE_NODES_BY_SLURM, NOTHING)


class EnergyMeter:
    """Joules since the meter was made. boundary: what they were measured of.

    counters: none on a rank whose node is measured by another rank: it adds 0. None: not measured.
    """

    def __init__(self, boundary: str, counters: Sequence[Counter] | None) -> None:
        self.boundary, self._counters = boundary, counters

    def joules(self) -> float:
        """Joules so far; NaN where they are not, or no longer, measured."""
        if self._counters is None:
            return math.nan
        try:
            return sum(counter.joules() for counter in self._counters)
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            self._counters = None
            return math.nan


def open_meter(device: torch.device, local_rank: int | None = None) -> EnergyMeter:
    """This rank's meter. local_rank: its number on its node (default: LOCAL_RANK, which every launcher sets)."""
    if local_rank is None:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    for boundary, open_counters in _sources(device).items():
        if counters := open_counters():
            counts = boundary == GPU_BOARDS or local_rank == 0
            return EnergyMeter(boundary, counters if counts else [])
    return EnergyMeter(NOTHING, None)


def _sources(device: torch.device) -> dict[str, Callable[[], list[Counter]]]:
    """What may be measured here, the best first."""
    parts = {GPU_BOARDS: lambda: gpu_counters(device)} if device.type == "cuda" else {CPU_PACKAGES: rapl_counters}
    return {WHOLE_NODES: cray_counters, **parts, WHOLE_NODES_BY_SLURM: slurm_counters}


def gpu_counters(device: torch.device) -> list[Counter]:
    """The counter of a rank's GPU, NVIDIA's or AMD's; empty where there is none."""
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip is None:
        return nvml_counters(f"GPU-{properties.uuid}")
    address = f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    return hwmon_counters(address)
