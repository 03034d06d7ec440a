"""Rows of a matrix in kernels: how they are addressed, loaded and stored, and how partial sums of them end.

Most operations see their tensors as rows of contiguous elements, a stride apart. A block of a power of two of lanes
covers a row. Its loads and stores are as wide as the row's alignment allows, 16 bytes at most: the compiler must be
told, for by itself it only recognises sizes that are multiples of 16.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clapas_kernels.language import cdiv, jit, tl
from clapas_kernels.target import target_of

WIDEST_ACCESS = 16
"""Bytes that one lane loads or stores at once, at most: NVIDIA's 128 bits, AMD's dwordx4."""
MOST_THREADS = 1024
"""Of one program, on NVIDIA and AMD."""


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums are computed in: fp32, or fp64 for fp64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def as_rows(x: Tensor) -> Tensor:
    """`x` as a matrix of its last dimension's rows: a view where its strides allow, else a copy."""
    rows = x.reshape(-1, x.shape[-1]) if x.numel() else x.new_empty(math.prod(x.shape[:-1]), x.shape[-1])
    return rows if rows.stride(-1) == 1 or rows.shape[-1] <= 1 else rows.contiguous()


def alignment(size: int, *rows: Tensor) -> int:
    """The largest power of two of elements, up to `WIDEST_ACCESS` bytes, that divides `size` and all rows' places.

    A kernel takes strides in this unit and multiplies them by it, which tells the compiler what it divides.
    """
    widest = WIDEST_ACCESS // min(x.element_size() for x in rows)
    places = (place for x in rows for place in (x.stride(0), x.data_ptr() // x.element_size()))
    return math.gcd(widest, size, *places)


def warps_for(block: int, rows: Tensor) -> int:
    """Warps with which each lane holds `WIDEST_ACCESS` bytes of a block, or the most that a program may have."""
    warp_size = target_of(rows.device).warp_size
    wanted = block * rows.element_size() // (WIDEST_ACCESS * warp_size)
    return max(1, min(wanted, MOST_THREADS // warp_size))


@jit
def wide(x):
    """In fp32, or fp64 where it is fp64."""
    return x if x.dtype == tl.float64 else x.to(tl.float32)


@jit
def piece_of_row(N: tl.constexpr, BLOCK: tl.constexpr):
    """Which row this program takes, in int64, and which columns of it, where rows of N are cut into blocks."""
    pieces: tl.constexpr = (N + BLOCK - 1) // BLOCK
    program = tl.program_id(0)
    return (program // pieces).to(tl.int64), program % pieces * BLOCK + tl.arange(0, BLOCK)


@jit
def load_row(ROW, columns, N: tl.constexpr, BLOCK: tl.constexpr):
    """Elements `columns`, a block of them, of a row of N, in fp32 or fp64; 0 beyond N."""
    if N % BLOCK == 0:
        return wide(tl.load(ROW + columns))
    return wide(tl.load(ROW + columns, mask=columns < N, other=0.0))


@jit
def store_row(ROW, columns, values, N: tl.constexpr, BLOCK: tl.constexpr):
    """Store what `load_row` loads, rounded to the row's dtype."""
    if N % BLOCK == 0:
        tl.store(ROW + columns, values.to(ROW.dtype.element_ty))
    else:
        tl.store(ROW + columns, values.to(ROW.dtype.element_ty), mask=columns < N)


SUM_ROWS = 32
SUM_COLUMNS = 32
"""The tile of `sum_rows`: one cache line (128 bytes of fp32) wide."""


def sum_rows(partial_PN: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over P of partial sums, (N,), rounded once to `dtype`; in an order that depends on P alone."""
    programs, size = partial_PN.shape
    total_N = partial_PN.new_empty(size, dtype=dtype)
    grid = (cdiv(size, SUM_COLUMNS),)
    _sum_rows[grid](partial_PN, total_N, programs, N=size, ROWS=SUM_ROWS, COLUMNS=SUM_COLUMNS, num_warps=4)
    return total_N


@jit
def _sum_rows(PARTIAL, TOTAL, programs, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < N
    sums = tl.zeros((ROWS, COLUMNS), PARTIAL.dtype.element_ty)
    for start in range(0, programs, ROWS):
        rows = start + tl.arange(0, ROWS)
        places = rows[:, None].to(tl.int64) * N + columns[None, :]
        sums += tl.load(PARTIAL + places, mask=(rows < programs)[:, None] & is_column[None, :], other=0.0)
    tl.store(TOTAL + columns, tl.sum(sums, 0).to(TOTAL.dtype.element_ty), mask=is_column)
