"""RMSNorm of queries' and keys' heads, then rotary positions; apart, and packed with the values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clapas_kernels import packed_qk_norm_rope, qk_norm_rope
from kernels.contract import Contract, Operation, Results, Sizes, error_of_sum
from kernels.test_rope import HEADS, SHARED, SIZES, packed_formula, turned
from kernels.test_rope import make as make_heads
from kernels.test_rope import make_packed as make_packed_heads

EPS = 1e-3
ROUNDINGS = {"triton": 1, "reference": 3}
"""The reference rounds the normalised head, the first product of its turn, and the turn."""


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def weights(sizes: Sizes, generator: torch.Generator) -> Results:
    return torch.rand(2, sizes["head_dim"], generator=generator).add(0.5).unbind()


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    q, k, cos, sin = make_heads(sizes, generator)
    return q * 3, k, *weights(sizes, generator), cos, sin


def make_packed(sizes: Sizes, generator: torch.Generator) -> Results:
    qkv, cos, sin = make_packed_heads(sizes, generator)
    return qkv, *weights(sizes, generator), cos, sin


def formula(
    q: Tensor, k: Tensor, q_weight: Tensor, k_weight: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor]:
    return turned(normed(q, q_weight), cos, sin), turned(normed(k, k_weight), cos, sin)


def packed(qkv: Tensor, q_weight: Tensor, k_weight: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    still = torch.ones_like(cos), torch.zeros_like(sin)
    q, k, v = (x.transpose(1, 2) for x in packed_formula(qkv, *still))
    return *formula(q, k, q_weight, k_weight, cos, sin), v.transpose(1, 2)


def error_of_dweight(x: Tensor, grad_BHSD: Tensor, inputs: Results, dtype: torch.dtype) -> float:
    """dweight sums u n over tokens and heads; the reference rounds u, and its first product."""
    cos, sin = inputs[-2:]
    turned_back = turned(grad_BHSD.transpose(1, 2), cos, -sin).transpose(1, 2)
    return error_of_sum((turned_back * normed(x, torch.ones_like(inputs[-3]))).flatten(0, -2), 2, dtype)


def error_of_packed(part: int) -> Callable[[torch.dtype, Results, Results], float]:
    def error(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
        still = torch.ones_like(inputs[-2]), torch.zeros_like(inputs[-1])
        return error_of_dweight(packed_formula(inputs[0], *still)[part].transpose(1, 2), grads[part], inputs, dtype)

    return error


@pytest.mark.slow
class TestQKNormRope(Contract):
    operation = Operation(
        function=lambda *tensors: qk_norm_rope(*tensors, eps=EPS),
        formula=formula,
        make=make,
        without_gradient=(4, 5),
        roundings=ROUNDINGS,
        largest_error={
            "gradient 2": lambda dtype, inputs, grads: error_of_dweight(inputs[0], grads[0], inputs, dtype),
            "gradient 3": lambda dtype, inputs, grads: error_of_dweight(inputs[1], grads[1], inputs, dtype),
        },
        **SIZES,
    )


class TestPackedQKNormRope(Contract):
    operation = Operation(
        function=lambda *tensors: packed_qk_norm_rope(*tensors, eps=EPS, heads=HEADS, shared=SHARED),
        formula=packed,
        make=make_packed,
        without_gradient=(3, 4),
        roundings=ROUNDINGS,
        largest_error={"gradient 1": error_of_packed(0), "gradient 2": error_of_packed(1)},
        **SIZES,
    )
