"""Heads of attention in kernels: queries, keys and values of a token, wherever they lie, in one launch.

A program takes some heads of a token: a tile of `HEADS` heads, each as two halves of `HALF` lanes, for a rotary
embedding turns pairs (x_i, x_{i + D/2}). A tile is of queries, of keys or of values, and its program knows of which:
a choice between pointers that differs from lane to lane costs AMD's compiler its knowledge of what they divide, and
with it the wide accesses. So any number of heads fills its tiles but for the last one. The three may be parts of one
packed tensor or tensors of their own, token-major or head-major: each has a stride for batch, token and head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import WIDEST_ACCESS, warps_for, wide

LANES = 1024
"""Lanes of a program's tile: with 128 threads, 16 bytes of bf16 of each access."""


def as_heads(x_BSHD: Tensor) -> Tensor:
    """`x`, of contiguous heads: itself, or a copy."""
    return x_BSHD if x_BSHD.stride(-1) == 1 else x_BSHD.contiguous()


def unpacked(qkv_BSF: Tensor, heads: int, shared: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views (B, S, H, D), (B, S, K, D) twice, of a packed projection's queries, keys and values.

    Raises ValueError where its rows are not of H + 2 K heads.
    """
    total = heads + 2 * shared
    if qkv_BSF.shape[-1] % total:
        raise ValueError(
            f"found rows of {qkv_BSF.shape[-1]} elements; must be {heads} + 2 * {shared} heads of one size"
        )
    q, k, v = qkv_BSF.unflatten(-1, (total, qkv_BSF.shape[-1] // total)).split((heads, shared, shared), -2)
    return q, k, v


def arguments(
    read: Sequence[Tensor],
    written: Sequence[Tensor],
    cos: Tensor,
    sin: Tensor,
    also: Sequence[Tensor] = (),
    halves: int = 2,
) -> tuple[dict[str, Any], int, int]:
    """What the kernels of heads are told: their arguments by name, tiles a token, and tokens.

    read: q, k and perhaps v, each (B, S, heads, D), of contiguous heads. written: the same, contiguous within a token.
    cos, sin: (B or 1, S, 1, D/2). also: q and k that are read beside them, "Q_IN" and "K_IN".
    halves: 2 where a lane holds a pair, 1 where it holds one element.
    """
    batch, length, heads, head_dim = read[0].shape
    shared = read[1].shape[2]
    half = next_power_of_2(head_dim // 2)
    lanes_of_head = 2 * half // halves
    tile = min(next_power_of_2(max(heads, shared)), max(1, LANES // lanes_of_head))
    inputs = dict(zip("qkv", (*read, read[-1]), strict=False)) | dict(zip(("q_in", "k_in"), also, strict=False))
    strides = {
        f"{name}_{axis}": x.stride(number)
        for name, x in inputs.items()
        for number, axis in enumerate(("batch", "token", "head"))
    }
    strides |= {f"{name}_out": x.stride(1) for name, x in zip("qkv", (*written, written[-1]), strict=False)}
    item = read[0].element_size()
    places = (x.data_ptr() // item for x in (*read, *written, *also))
    unit = math.gcd(WIDEST_ACCESS // item, head_dim // 2, *strides.values(), *places)
    angles = {"COS": cos.contiguous(), "SIN": sin.contiguous(), "angle_batch": length if len(cos) > 1 else 0}
    tensors = {name.upper(): x for name, x in inputs.items()}
    tensors |= dict(zip(("Q_OUT", "K_OUT", "V_OUT"), (*written, written[-1]), strict=False))
    shape = {
        "length": length, "H": heads, "SHARED": shared, "D": head_dim, "HEADS": tile, "HALF": half,
        "ALIGNMENT": unit, "COPIES": len(read) == 3, "num_warps": warps_for(tile * lanes_of_head, read[0]),
    }  # fmt: skip
    return (
        tensors | angles | {name: x // unit for name, x in strides.items()} | shape,
        cdiv(heads, tile) + cdiv(shared, tile) * (len(read) - 1),
        batch * length,
    )


@jit
def place_of(row, length):
    """A token of the batch, its sample and its place in it, in int64: divided before, which takes fewer registers."""
    return row.to(tl.int64), (row // length).to(tl.int64), (row % length).to(tl.int64)


@jit
def part_of(tile, H: tl.constexpr, SHARED: tl.constexpr, HEADS: tl.constexpr):
    """Whether a tile is of queries, whether of values, the first of its heads, and how many heads its part has."""
    of_queries: tl.constexpr = (H + HEADS - 1) // HEADS
    of_keys: tl.constexpr = (SHARED + HEADS - 1) // HEADS
    is_query, is_value = tile < of_queries, tile >= of_queries + of_keys
    before = chosen(is_query, is_value, 0, of_queries, of_queries + of_keys)
    return is_query, is_value, (tile - before) * HEADS, tl.where(is_query, H, SHARED)


@jit
def chosen(is_query, is_value, of_queries, of_keys, of_values):
    """What is of the program's part."""
    return tl.where(is_query, of_queries, tl.where(is_value, of_values, of_keys))


@jit
def heads_at(
    Q, K, V, batch, token, first, is_query, is_value, q_batch, q_token, q_head, k_batch, k_token, k_head,
    v_batch, v_token, v_head, HEADS: tl.constexpr, ALIGNMENT: tl.constexpr,
):  # fmt: skip
    """Where a token's heads begin, from its part's `first` on; batch and token in int64."""
    start = chosen(
        is_query,
        is_value,
        Q + (batch * q_batch + token * q_token) * ALIGNMENT,
        K + (batch * k_batch + token * k_token) * ALIGNMENT,
        V + (batch * v_batch + token * v_token) * ALIGNMENT,
    )
    stride = chosen(is_query, is_value, q_head, k_head, v_head)
    start += first.to(tl.int64) * stride * ALIGNMENT
    # of a choice between pointers the compiler no longer knows what it knows of each
    start = tl.multiple_of(start, ALIGNMENT * (Q.dtype.element_ty.primitive_bitwidth // 8))
    return start + tl.arange(0, HEADS).to(tl.int64) * (stride * ALIGNMENT)


@jit
def load_pairs(at, is_head, D: tl.constexpr, HALF: tl.constexpr):
    """Both halves of each head, in fp32 or fp64; 0 beyond."""
    lanes = tl.arange(0, HALF)
    is_there = is_head[:, None] & (lanes < D // 2)[None, :]
    places = at[:, None] + lanes[None, :]
    left = tl.load(places, mask=is_there, other=0.0)
    return wide(left), wide(tl.load(places + D // 2, mask=is_there, other=0.0))


@jit
def store_pairs(at, is_head, left, right, D: tl.constexpr, HALF: tl.constexpr):
    """Store what `load_pairs` loads, rounded."""
    lanes = tl.arange(0, HALF)
    is_there = is_head[:, None] & (lanes < D // 2)[None, :]
    places = at[:, None] + lanes[None, :]
    tl.store(places, left.to(at.dtype.element_ty), mask=is_there)
    tl.store(places + D // 2, right.to(at.dtype.element_ty), mask=is_there)


@jit
def angles_at(COS, SIN, batch, token, angle_batch, D: tl.constexpr, HALF: tl.constexpr):
    """cos and sin of a token's angles, (1, HALF)."""
    lanes = tl.arange(0, HALF)
    places = (batch * angle_batch + token) * (D // 2) + lanes
    cos = wide(tl.load(COS + places, mask=lanes < D // 2, other=0.0))
    sin = wide(tl.load(SIN + places, mask=lanes < D // 2, other=0.0))
    return cos[None, :], sin[None, :]
