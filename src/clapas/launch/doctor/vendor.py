"""Whose accelerators a run would have: this machine's, or those of the site that it is sent to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from clapas.launch.doctor.finding import Case

Vendor = Literal["nvidia", "amd"]

DEVICE_FILES: dict[Vendor, Path] = {"nvidia": Path("/dev/nvidiactl"), "amd": Path("/dev/kfd")}
"""What each vendor's kernel driver makes for programs to open."""


def vendor_here() -> Vendor | None:
    """Of this machine's accelerators; None where it has none."""
    return next((vendor for vendor, file in DEVICE_FILES.items() if file.exists()), None)


def vendor_of(case: Case) -> Vendor | None:
    """Of the site's partition where one is named, else of this machine."""
    if case.partition is None:
        return vendor_here()
    device = case.partition.device
    if device.startswith("CPU"):
        return None
    return "amd" if device.startswith("MI") else "nvidia"
