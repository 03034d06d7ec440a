"""Triton where it is installed; where it is not, what lets a kernel's file be imported all the same.

A file of kernels takes `jit` and `tl` from here. On a machine without triton (macOS, a login node) `jit` leaves the
function alone, nothing calls it, and every operation runs its reference. IS_INTERPRETING: kernels run in triton's
interpreter, on CPU tensors, as TRITON_INTERPRET=1 was set when they were imported.
"""

from __future__ import annotations

from typing import Any

try:
    import triton
    import triton.knobs
    import triton.language as tl

    jit: Any = triton.jit
    IS_INSTALLED = True
    IS_INTERPRETING = bool(triton.knobs.runtime.interpret)
except ImportError:
    tl: Any = None
    jit: Any = lambda function: function  # noqa: E731 the same name, a decorator that decorates nothing
    IS_INSTALLED = IS_INTERPRETING = False


def next_power_of_2(size: int) -> int:
    """The least power of two that is at least `size`; 1 for 0."""
    return 1 << max(size - 1, 0).bit_length()


def cdiv(size: int, piece: int) -> int:
    """How many pieces cover `size`."""
    return -(-size // piece)
