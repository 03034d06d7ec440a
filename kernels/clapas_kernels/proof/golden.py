"""The golden file: the proof as it was when someone last looked, so that no figure moves unseen.

It is the proof's own JSON: `python -m clapas_kernels.proof --json > tests/kernels/golden.json`. A figure that is better
than it fails as one that is worse does: a golden file that lags behind would let the next regression pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

RATIO = 0.005
"""Absolute, of bytes over the minimal bytes."""
REGISTERS = 8
"""What another patch release of triton or ptxas may move."""
SHARE = 0.02
"""Absolute, of occupancy and of wide bytes."""
SHARED = 1024
"""Bytes of shared memory."""

_TOLERANCE = {"issued": RATIO, "sectors": RATIO, "dram": RATIO, "registers": REGISTERS} | {
    "occupancy": SHARE,
    "wide": SHARE,
    "shared": SHARED,
}
_NOT_COMPARED = {"accesses", "programs"}
"""Which `wide` and `occupancy` say already."""


def differences(golden: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """A sentence for each figure of the report that is not the golden file's; what was not measured is not compared."""
    for name, parts in report.items():
        if name not in golden:
            yield f"{name}: not in the golden file"
            continue
        yield from _rows(name, golden[name]["traffic"], parts["traffic"])
        for target, kernels in parts.get("static", {}).items():
            wanted = golden[name]["static"].get(target, {})
            if kernels.keys() != wanted.keys():
                yield f"{name} on {target}: launches {sorted(kernels)}, not {sorted(wanted)}"
                continue
            for kernel, row in kernels.items():
                yield from _rows(f"{name}: {kernel} on {target}", wanted[kernel], row)


def _rows(where: str, wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for what, value in found.items():
        if what in _NOT_COMPARED or value == wanted[what]:
            continue
        tolerance = _TOLERANCE.get(what, 0)
        if not isinstance(value, int | float) or abs(value - wanted[what]) > tolerance:
            yield f"{where}: {what} is {value}, was {wanted[what]} (tolerance {tolerance})"
