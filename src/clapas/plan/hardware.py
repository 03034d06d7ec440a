"""What accelerators can do at most: the sheet `slurm/hardware.yaml`."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import Field, PositiveFloat

from clapas.recipe.errors import UserError
from clapas.recipe.shipped import shipped_folder
from clapas.recipe.typed import Section, read_typed

Teraflops = Annotated[float, Field(gt=0)]


class Device(Section):
    """An accelerator, as one rank sees it.

    fp16, bf16, fp32: peak dense rates in TFLOP/s; fp16: by default as fast as bf16. achievable: the share of them that
    the best large matrix product reaches. memory_gb (10^9 bytes), memory_gb_per_second: its own.
    link_gb_per_second: to its neighbours in a node, one direction. node_gbit_per_second: of a usual node to others.
    """

    name: str
    match: str
    fp16: Teraflops | None = None
    bf16: Teraflops | None = None
    fp32: Teraflops | None = None
    achievable: Annotated[float, Field(gt=0, le=1)]
    memory_gb: PositiveFloat
    memory_gb_per_second: PositiveFloat
    link_gb_per_second: PositiveFloat
    node_gbit_per_second: PositiveFloat
    watts: PositiveFloat
    source: str

    def peak_flops(self, precision: str) -> float | None:
        """Peak in FLOP/s for a precision (`fp32`, `bf16`, `fp16`); None where the device does not have it."""
        teraflops = getattr(self, precision) or (self.bf16 if precision == "fp16" else None)
        return None if teraflops is None else teraflops * 1e12


class HardwareSheet(Section):
    """All accelerators known."""

    devices: list[Device]


def read_hardware() -> list[Device]:
    """The sheet's devices."""
    return read_typed(shipped_folder("slurm") / "hardware.yaml", HardwareSheet).devices


def device_named(name: str, where: str | None = None) -> Device:
    """The device that the sheet calls so. where: who asks, for the message. Raises UserError."""
    devices = {device.name: device for device in read_hardware()}
    if name in devices:
        return devices[name]
    close = difflib.get_close_matches(name, devices, n=1)
    raise UserError(
        "no such device in slurm/hardware.yaml",
        where=where,
        found=name,
        wanted=f"one of: {', '.join(devices)}",
        way_out=f"did you mean {close[0]}?" if close else None,
    )


def device_of_driver(device_name: str) -> Device | None:
    """An accelerator by the name that its driver gives; None where the sheet has none."""
    return next((device for device in read_hardware() if device.match in device_name), None)


def peak_flops(device_name: str, precision: str) -> float | None:
    """An accelerator's peak in FLOP/s by the name that its driver gives; None where the sheet has none."""
    device = device_of_driver(device_name)
    return None if device is None else device.peak_flops(precision)
