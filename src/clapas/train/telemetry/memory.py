"""The memory of the ranks: a GPU's as torch's allocator counts it, a CPU rank's as the kernel does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clapas.train.telemetry.measure import Columns, Measure

if TYPE_CHECKING:
    from clapas.train.run import Run

KIB = 1024


class Memory(Measure):
    """Bytes of the fullest rank: the most that it ever held, and what it holds from the system now."""

    def own(self, run: Run) -> list[float]:
        """[peak, reserved] in bytes."""
        device = run.ranks.device
        if device.type == "cuda":
            return [float(torch.cuda.max_memory_allocated(device)), float(torch.cuda.memory_reserved(device))]
        return [float(value) for value in resident_bytes()]

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """The largest over the ranks."""
        peak, reserved = (int(max(values)) for values in zip(*everyone, strict=True))
        return {"memory_peak_bytes": peak, "memory_reserved_bytes": reserved}


def resident_bytes(status: Path = Path("/proc/self/status")) -> tuple[int, int]:
    """(most ever, now) that this process has resident; 0 where the kernel does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        peak, now = (int(lines[name].split()[0]) * KIB for name in ("VmHWM", "VmRSS"))
    except (OSError, KeyError, ValueError):
        return 0, 0
    return peak, now
