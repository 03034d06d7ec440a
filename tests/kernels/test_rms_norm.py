"""RMSNorm, alone and after the residual addition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clapas_kernels import add_rms_norm, rms_norm, use
from clapas_kernels.rms_norm import LARGEST
from kernels.contract import Contract, Operation, Results, Sizes, error_of_sum

EPS = 1e-3


def formula(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def products(x: Tensor, grad: Tensor) -> Tensor:
    """What dweight sums: dy n, a row each."""
    return (grad * formula(x, torch.ones(x.shape[-1], dtype=x.dtype))).flatten(0, -2)


def error_of_dweight(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    return error_of_sum(products(inputs[0], grads[0]), 0, dtype)


def error_of_dweight_after_addition(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """The backward pass reads s, which was rounded, in n and in its rms."""
    return error_of_sum(products(inputs[0] + inputs[1], grads[0]), 2, dtype)


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    x = torch.randn(sizes["rows"], 2, sizes["hidden"], generator=generator)
    return x * 3, torch.rand(sizes["hidden"], generator=generator) + 0.5


def make_with_residual(sizes: Sizes, generator: torch.Generator) -> Results:
    x, weight = make(sizes, generator)
    return x, torch.randn(x.shape, generator=generator), weight


SIZES = {
    "accurate": {"rows": 60, "hidden": 1000},
    "odd": [{"rows": 5, "hidden": 100}, {"rows": 1, "hidden": 7}, {"rows": 3, "hidden": 1}, {"rows": 2, "hidden": 136}],
    "empty": {"rows": 0, "hidden": 24},
    "tiny": {"rows": 1, "hidden": 3},
}


class TestRMSNorm(Contract):
    operation = Operation(
        function=lambda x, weight: rms_norm(x, weight, EPS),
        formula=formula,
        make=make,
        largest_error={"gradient 1": error_of_dweight},
        **SIZES,
    )


class TestAddRMSNorm(Contract):
    operation = Operation(
        function=lambda x, residual, weight: add_rms_norm(x, residual, weight, EPS),
        formula=lambda x, residual, weight: (formula(x + residual, weight), x + residual),
        make=make_with_residual,
        largest_error={"gradient 2": error_of_dweight_after_addition},
        **SIZES,
    )


def test_a_row_that_fits_no_program_is_refused() -> None:
    """With the way out."""
    x, weight = torch.ones(1, LARGEST + 1), torch.ones(LARGEST + 1)
    with use("triton"), pytest.raises(ValueError, match=r'found rows of 8193 elements; .*use."reference"'):
        rms_norm(x, weight, EPS)
    assert torch.equal(rms_norm(x, weight, 0.0), x)


def test_only_the_sum_may_be_used(implementation: str) -> None:
    """Of `add_rms_norm`: its gradient passes, and the weight has none."""
    x, residual, weight = torch.ones(2, 8, requires_grad=True), torch.ones(2, 8), torch.ones(8, requires_grad=True)
    total = add_rms_norm(x, residual, weight, EPS)[1]
    (grad,) = torch.autograd.grad(total, x, torch.full((2, 8), 3.0))
    assert torch.equal(grad, torch.full((2, 8), 3.0))
