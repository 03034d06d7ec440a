"""RMSNorm, alone and after the residual addition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clapas_kernels import add_rms_norm, rms_norm, use
from clapas_kernels.rms_norm import LARGEST
from kernels.contract import Contract, Operation, Results, Sizes

EPS = 1e-3


def formula(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def error_of_the_sums(x: Tensor, grad: Tensor) -> float:
    """Of dweight, computed in fp32: a sum of T products, each of three roundings (n is x r, r has some ulps of its own:
    four are taken), errs by at most (T - 1 + 3 + 4) u times the sum of the absolute products (Higham, 2002, 4.2),
    u = 2^-24."""
    products = grad * formula(x, torch.ones(x.shape[-1], dtype=x.dtype))
    return (len(x) + 6) * 2.0**-24 * float(products.abs().sum(0).norm())


def error_of_dweight(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    return error_of_the_sums(inputs[0].detach(), grads[0])


def error_of_dweight_after_addition(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """The backward pass reads s, which was rounded: each n errs by u of the dtype more, independently: the errors of a
    column's T products add up as their squares do, to at most u times the norm of all products; twice that is allowed,
    for n's rms moves too."""
    total = (inputs[0] + inputs[1]).detach()
    products = grads[0] * formula(total, torch.ones(total.shape[-1], dtype=total.dtype))
    rounding = torch.finfo(dtype).eps / 2
    return error_of_the_sums(total, grads[0]) + 2 * rounding * float(products.norm())


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
    assert torch.equal(*torch.autograd.grad(total, x, torch.full((2, 8), 3.0)), torch.full((2, 8), 3.0))
