"""Rotary positions: queries and keys apart, head-major, or packed with the values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clapas_kernels import packed_rope, rope
from kernels.contract import Contract, Operation, Results, Sizes

HEADS, SHARED = 5, 2
ROUNDINGS = {"triton": 1, "reference": 2}
"""The reference rounds the first product."""
SIZES = {
    "accurate": {"batch": 2, "length": 20, "head_dim": 64},
    "odd": [
        {"batch": 2, "length": 3, "head_dim": 80},
        {"batch": 1, "length": 1, "head_dim": 2},
        {"batch": 3, "length": 2, "head_dim": 16},
    ],
    "empty": {"batch": 0, "length": 3, "head_dim": 8},
    "tiny": {"batch": 1, "length": 1, "head_dim": 2},
}


def angles(sizes: Sizes, generator: torch.Generator) -> Results:
    """Cosines and sines of some angles, of each sample its own."""
    shape = (sizes["batch"], sizes["length"], 1, sizes["head_dim"] // 2)
    some = 6 * torch.rand(shape, generator=generator)
    return some.cos(), some.sin()


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    shapes = ((sizes["batch"], sizes["length"], heads, sizes["head_dim"]) for heads in (HEADS, SHARED))
    return *(torch.randn(shape, generator=generator) for shape in shapes), *angles(sizes, generator)


def make_head_major(sizes: Sizes, generator: torch.Generator) -> Results:
    q, k, cos, sin = make(sizes, generator)
    return *(x.transpose(1, 2).contiguous() for x in (q, k)), cos, sin


def make_packed(sizes: Sizes, generator: torch.Generator) -> Results:
    shape = (sizes["batch"], sizes["length"], (HEADS + 2 * SHARED) * sizes["head_dim"])
    return torch.randn(shape, generator=generator), *angles(sizes, generator)


def turned(x_BSHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """By complex numbers, (B, H, S, D)."""
    left, right = x_BSHD.chunk(2, -1)
    real, imaginary = left * cos - right * sin, left * sin + right * cos
    return torch.cat([real, imaginary], -1).transpose(1, 2)


def packed_formula(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    heads = torch.stack(qkv.chunk(HEADS + 2 * SHARED, -1), 2)
    q, k, v = heads[:, :, :HEADS], heads[:, :, HEADS:-SHARED], heads[:, :, -SHARED:]
    return turned(q, cos, sin), turned(k, cos, sin), v.transpose(1, 2)


def error_of_products(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """In fp32 the reference fuses its second product with the sum, as a GPU does; the interpreter rounds it: by u of
    the product, which is no larger than the input."""
    wholes = max(sum(float(x.detach().square().sum()) for x in tensors) for tensors in (inputs, grads)) ** 0.5
    return 2.0**-24 * wholes if dtype == torch.float32 else 0.0


UNFUSED: dict[str, Callable[[torch.dtype, Results, Results], float]] = {
    f"{kind} {number}": error_of_products for kind in ("output", "gradient") for number in (0, 1)
}


class TestRope(Contract):
    operation = Operation(
        function=rope,
        formula=lambda q, k, cos, sin: (turned(q, cos, sin), turned(k, cos, sin)),
        make=make,
        without_gradient=(2, 3),
        roundings=ROUNDINGS,
        largest_error=UNFUSED,
        **SIZES,
    )


@pytest.mark.slow
class TestHeadMajorRope(Contract):
    operation = Operation(
        function=lambda q, k, cos, sin: rope(q.transpose(1, 2), k.transpose(1, 2), cos, sin),
        formula=lambda q, k, cos, sin: (turned(q.transpose(1, 2), cos, sin), turned(k.transpose(1, 2), cos, sin)),
        make=make_head_major,
        without_gradient=(2, 3),
        roundings=ROUNDINGS,
        largest_error=UNFUSED,
        **SIZES,
    )


@pytest.mark.slow
class TestPackedRope(Contract):
    operation = Operation(
        function=lambda qkv, cos, sin: packed_rope(qkv, cos, sin, HEADS, SHARED),
        formula=packed_formula,
        make=make_packed,
        without_gradient=(1, 2),
        roundings=ROUNDINGS,
        largest_error=UNFUSED,
        **SIZES,
    )


def test_angles_of_all_samples_may_be_the_same(implementation: str) -> None:
    """(1, S, 1, D/2), as without padding."""
    q, k, cos, sin = make(SIZES["odd"][0], torch.Generator().manual_seed(0))
    one = cos[:1], sin[:1]
    each = tuple(x.expand_as(cos) for x in one)
    for found, wanted in zip(rope(q, k, *one), rope(q, k, *each), strict=True):
        assert torch.equal(found, wanted)


def test_a_packed_row_must_be_of_whole_heads() -> None:
    with pytest.raises(ValueError, match=r"found rows of 10 elements; must be 2 \+ 2 \* 1 heads"):
        packed_rope(torch.ones(1, 1, 10), torch.ones(1), torch.ones(1), 2, 1)
