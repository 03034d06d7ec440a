"""Which fp8 formats an accelerator multiplies, and which accelerators have none.

E4M3 has 3 bits of mantissa and holds weights and activations; E5M2 has 2, and the wider range that gradients want
(Micikevicius et al., 2022, arXiv:2209.05433). Two families: OCP's, and FNUZ (AMD's gfx942 only: no infinity, no
negative zero, an exponent bias of one more), whose bytes mean other numbers.
"""

from __future__ import annotations

import torch

from clapas_kernels.constant_in_graphs import constant_in_graphs
from clapas_kernels.target import Target, target_of

OCP = (torch.float8_e4m3fn, torch.float8_e5m2)
FNUZ = (torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
HALF_SUBNORMAL = {
    torch.float8_e4m3fn: 2.0**-10,
    torch.float8_e4m3fnuz: 2.0**-11,
    torch.float8_e5m2: 2.0**-17,
    torch.float8_e5m2fnuz: 2.0**-18,
}
"""Half the least number above 0: the largest error of a number that is too small for the full mantissa."""
ROUNDOFF = {dtype: 2.0**-4 if dtype in (OCP[0], FNUZ[0]) else 2.0**-3 for dtype in (*OCP, *FNUZ)}
"""The largest relative error of all others: half a unit of the last place of 1."""

_AMD = {"gfx942": FNUZ, "gfx950": OCP, "gfx1200": OCP, "gfx1201": OCP}
_NVIDIA_SINCE = 89
"""Compute capability 8.9: Ada; then Hopper and later."""


class NoFp8Error(RuntimeError):
    """The accelerator multiplies no fp8 numbers; the message names it."""


def why_no_fp8(target: Target) -> str | None:
    """Why this accelerator has no fp8, or None where it has."""
    if target.backend == "hip":
        return None if target.name in _AMD else f"{target.name} has no fp8; of AMD, {', '.join(_AMD)} have"
    if int(target.name.removeprefix("sm_")) < _NVIDIA_SINCE:
        return f"{target.name} has no fp8; of NVIDIA, sm_{_NVIDIA_SINCE} and later have"
    return None


# What is asked of a device stands in a compiled graph as a constant: the compiler cannot look into `target_of`.


@constant_in_graphs
def why_no_fp8_on(device: torch.device) -> str | None:
    """`why_no_fp8` of the accelerator behind this device."""
    return why_no_fp8(target_of(device))


@constant_in_graphs
def forward_format(device: torch.device) -> torch.dtype:
    """E4M3 as this device has it; a CPU, which emulates, OCP's. Raises NoFp8Error (A100: sm_80, MI250X: gfx90a)."""
    return _formats(target_of(device))[0]


@constant_in_graphs
def backward_format(device: torch.device) -> torch.dtype:
    """E5M2, likewise."""
    return _formats(target_of(device))[1]


def _formats(target: Target) -> tuple[torch.dtype, torch.dtype]:
    if reason := why_no_fp8(target):
        raise NoFp8Error(reason)
    return _AMD[target.name] if target.backend == "hip" else OCP
