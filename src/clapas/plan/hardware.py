"""What accelerators can do at most: the sheet `slurm/hardware.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clapas.recipe.shipped import shipped_folder
from clapas.recipe.typed import Section, read_typed

Teraflops = Annotated[float, Field(gt=0)]


class Device(Section):
    """An accelerator's peak dense rates in TFLOP/s, and where they were read. fp16: by default as fast as bf16."""

    match: str
    fp16: Teraflops | None = None
    bf16: Teraflops | None = None
    fp32: Teraflops | None = None
    source: str


class HardwareSheet(Section):
    """All accelerators known."""

    devices: list[Device]


def peak_flops(device_name: str, precision: str) -> float | None:
    """An accelerator's peak in FLOP/s for a precision (`fp32`, `bf16`, `fp16`); None where the sheet has none."""
    sheet = read_typed(shipped_folder("slurm") / "hardware.yaml", HardwareSheet)
    for device in sheet.devices:
        if device.match in device_name:
            teraflops = getattr(device, precision) or (device.bf16 if precision == "fp16" else None)
            return None if teraflops is None else teraflops * 1e12
    return None
