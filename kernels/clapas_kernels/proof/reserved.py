"""Tensors past 2^31 elements on a small machine: reserved address space, of which only touched pages cost memory.

A kernel that multiplies a row by its stride in int32 is right until a tensor has 2^31 elements, and then reads
elsewhere without a word. To see it, no such memory is needed, only such addresses: three rows, 2^30 elements apart.
"""

from __future__ import annotations

import mmap
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux's flag for space that no memory is set aside for; Python has its name from 3.13 on."""


def reserved(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A tensor of zeros, contiguous, whose pages come into being when they are written."""
    return torch.frombuffer(_space(prod(shape) * dtype.itemsize), dtype=dtype).view(shape)


def reserved_array(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """The same as an array of one dimension: the notes of a meter on a reserved tensor are as large."""
    return np.frombuffer(_space(size * np.dtype(dtype).itemsize), dtype)


def _space(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)


def distant_rows(rows: Tensor, stride: int) -> Tensor:
    """A copy of `rows` (rows x columns) with `stride` elements from one row to the next, in reserved memory."""
    count, columns = rows.shape
    apart = reserved(count, stride, dtype=rows.dtype)[:, :columns]
    return apart.copy_(rows)
