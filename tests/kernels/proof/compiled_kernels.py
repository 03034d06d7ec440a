"""Kernels with known faults, and one with none, compiled for every target: run by test_static.py in its own process."""

from __future__ import annotations

import dataclasses
import json
import sys

import torch
import triton.language as tl

from clapas_kernels.language import jit
from clapas_kernels.proof.static import captured, compiled
from clapas_kernels.target import TARGETS, target_of

SIZE = 2048


@jit
def copy(X, Y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at, mask=at < n), mask=at < n)


@jit
def spill(X, Y, BLOCK: tl.constexpr):
    """Holds 512 numbers a lane between two sums of them, in registers that are fewer."""
    at = tl.arange(0, BLOCK)
    x = tl.load(X + at)
    x = x - tl.sum(x, 0)
    tl.store(Y + at, x * tl.sum(x * x, 0))


@jit
def narrow(X, Y, stride, BLOCK: tl.constexpr):
    """A row stride that divides by 2 only: rows start anywhere, and no lane may take more than an element at once."""
    at = tl.program_id(0) * stride + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at))


@jit
def copy_beside_scalars(X, Y, LABEL, LOSS, BLOCK: tl.constexpr):
    """A label, a weight of 2 bytes and a loss, which are as wide as they can be, beside a row."""
    at = tl.arange(0, BLOCK)
    label = tl.load(LABEL)
    tl.store(Y + at, tl.load(X + at))
    tl.store(LOSS, tl.load(X + label).to(tl.float32))


@jit
def narrow_beside_scalars(X, Y, WEIGHT, LOSS, stride, BLOCK: tl.constexpr):
    """A row that is moved one element wide, one instruction a lane, beside a scalar of its width and another."""
    at = tl.program_id(0) * stride + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at))
    tl.store(LOSS, tl.load(LOSS) * tl.load(WEIGHT))


@jit
def narrow_words_beside_scalars(X, Y, WEIGHT, LOSS, stride, BLOCK: tl.constexpr):
    """The same; a name of its own."""
    narrow_beside_scalars(X, Y, WEIGHT, LOSS, stride, BLOCK)


@jit
def hold_shared_memory(X, Y, N: tl.constexpr):
    row, column = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    x = tl.load(X + row * N + column)
    tl.store(Y + row * N + column, tl.dot(x, tl.trans(x)).to(Y.dtype.element_ty))


@jit
def add_to(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.atomic_add(Y + at, tl.load(X + at))


def launch_all() -> None:
    x, y = torch.empty(SIZE, dtype=torch.bfloat16), torch.empty(SIZE, dtype=torch.bfloat16)
    lanes = target_of(x.device).warp_size
    copy[(1,)](x, y, SIZE, BLOCK=SIZE, num_warps=256 // lanes)
    narrow[(1,)](x, y, 514, BLOCK=512, num_warps=1)
    loss, label = torch.empty(1), torch.empty(1, dtype=torch.int64)
    copy_beside_scalars[(1,)](x, y, label, loss, BLOCK=SIZE, num_warps=256 // lanes)
    narrow_beside_scalars[(1,)](x, y, y[1:], loss, 514, BLOCK=8 * lanes, num_warps=8)
    halves = torch.empty(514 * lanes)
    narrow_words_beside_scalars[(1,)](halves, halves, halves[1:], loss, 257, BLOCK=4 * lanes, num_warps=4)
    wide = torch.empty(512 * lanes)
    spill[(1,)](wide, wide, BLOCK=512 * lanes, num_warps=1)
    hold_shared_memory[(1,)](torch.empty(64, 64, dtype=torch.bfloat16), y, N=64, num_warps=4)
    add_to[(1,)](wide, wide, BLOCK=128, num_warps=1)


if __name__ == "__main__":
    rows = [compiled(launch) for target in sys.argv[1:] for launch in captured(TARGETS[target], launch_all)]
    print(json.dumps([dataclasses.asdict(row) for row in rows]))
