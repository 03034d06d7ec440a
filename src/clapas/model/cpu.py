"""Two settings of this process that double the speed of training on a CPU; neither changes what is computed.

Measured on an AMD EPYC (Zen 5), 1 thread, 1.8M parameters, 2,048 tokens a step: 455 ms a step as PyTorch comes, 320 ms
with the first, 205 ms with both. `benchmarks/model.py` measures them where you are.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
SETTING = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue] not in torch's stubs
AS_IT_COMES, WITH_ONEDNN = SETTING.fp32_precision, "bf16"
"""Of SETTING.fp32_precision: the permission to round to bf16 is what sends products to oneDNN."""
FEW_ROWS, FEW_INPUTS, NARROW = 8, 3072, 256
"""Rows of a product, and numbers in all of them, up to which MKL is quicker where it is asked well (`are_few`); and the
width below which it is not."""
KEEP_BYTES = 2**30
"""Blocks up to 1 GiB, and as much at the heap's end, are kept for the next tensor instead of given back."""


def prepare_cpu() -> None:
    """Make fp32 matrix products and allocation fast in this process. Call once, before the first tensor of size."""
    multiply_with_onednn()
    keep_freed_memory()


def multiply_with_onednn() -> bool:
    """Send fp32 matrix products to oneDNN where it computes them in full fp32. Returns whether it does here.

    PyTorch sends them to MKL, which on AMD processors reaches half the speed of oneDNN, unless oneDNN is allowed to
    round to bf16. Where a processor has no matrix unit for bf16 it does not take the permission; where it does (AMX),
    a product that needs the lost bits shows it and the permission is withdrawn.
    """
    if _onednn_is_exact():
        SETTING.fp32_precision = WITH_ONEDNN
        return True
    return False


@cache
def _onednn_is_exact() -> bool:
    before = SETTING.fp32_precision
    SETTING.fp32_precision = WITH_ONEDNN
    left, right = torch.full((256, 256), 1 + 2**-12), torch.eye(256)
    is_exact = torch.equal(left @ right, left)
    SETTING.fp32_precision = before
    return is_exact


@contextmanager
def multiplying(by_onednn: bool) -> Iterator[None]:
    """Within, fp32 matrix products are oneDNN's where it computes them in full fp32, or those of PyTorch as it comes.

    For a few rows: oneDNN takes 15 us to begin a product, which of a small matrix is more than MKL takes for all of it.
    """
    before = SETTING.fp32_precision
    SETTING.fp32_precision = WITH_ONEDNN if by_onednn and _onednn_is_exact() else AS_IT_COMES
    try:
        yield
    finally:
        SETTING.fp32_precision = before


def are_few(rows: int, width: int) -> bool:
    """Whether x W^T of so many rows is quickest as MKL's (W x^T)^T: all of x stays in the first cache (decision 175).

    Of one row W is better read column by column (`layout`).
    """
    return 1 < rows <= FEW_ROWS and width >= NARROW and rows * width <= FEW_INPUTS


def keep_freed_memory() -> None:
    """Let the C library reuse large freed blocks: fresh ones cost a page fault every 4 KiB. Does nothing outside glibc.

    A step allocates the same tensors as the one before, so the process grows no larger than its largest step.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)
