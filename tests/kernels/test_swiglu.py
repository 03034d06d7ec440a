"""SwiGLU: two tensors, one packed tensor, and with the projection that follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clapas_kernels import packed_swiglu, swiglu, swiglu_linear, use
from kernels.contract import Contract, Operation, Results, Sizes


def formula(gate: Tensor, up: Tensor) -> Tensor:
    return gate / (1 + (-gate).exp()) * up


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    shape = (2, sizes["rows"], sizes["intermediate"])
    return 3 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def make_packed(sizes: Sizes, generator: torch.Generator) -> Results:
    return (torch.cat(tuple(make(sizes, generator)), -1),)


def make_linear(sizes: Sizes, generator: torch.Generator) -> Results:
    weight = torch.randn(sizes["hidden"], sizes["intermediate"], generator=generator)
    return *make(sizes, generator), weight / sizes["intermediate"] ** 0.5


SIZES = {
    "accurate": {"rows": 8, "intermediate": 1100},
    "odd": [{"rows": 3, "intermediate": 1100}, {"rows": 1, "intermediate": 1}, {"rows": 2, "intermediate": 1048}],
    "empty": {"rows": 0, "intermediate": 24},
    "tiny": {"rows": 1, "intermediate": 3},
}


class TestSwiglu(Contract):
    operation = Operation(
        function=swiglu,
        formula=formula,
        make=make,
        roundings={"triton": 1, "reference": 2},  # silu(gate), the product
        **SIZES,
    )


@pytest.mark.slow
class TestPackedSwiglu(Contract):
    operation = Operation(
        function=packed_swiglu,
        formula=lambda gate_up: formula(*gate_up.chunk(2, -1)),
        make=make_packed,
        roundings={"triton": 1, "reference": 2},
        **SIZES,
    )


class TestSwigluLinear(Contract):
    operation = Operation(
        function=swiglu_linear,
        formula=lambda gate, up, weight: formula(gate, up) @ weight.t(),
        make=make_linear,
        roundings={
            "triton": 2,
            "reference": 3,
        },  # the product (backward: its gradient) before, or after, the matrix product
        accurate={"rows": 8, "intermediate": 1100, "hidden": 100},
        odd=[{"rows": 3, "intermediate": 1100, "hidden": 3}, {"rows": 1, "intermediate": 1, "hidden": 1}],
        empty={"rows": 0, "intermediate": 24, "hidden": 8},
        tiny={"rows": 1, "intermediate": 3, "hidden": 2},
    )


def test_the_projection_saves_gate_and_up_alone(implementation: str) -> None:
    """Of tensors of size F a token: a linear layer after `swiglu` would save the product too."""
    gate, up, weight = (torch.randn(4, 24, requires_grad=True) for _ in range(3))
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        swiglu_linear(gate, up, weight)
    assert {x.data_ptr() for x in saved} == {gate.data_ptr(), up.data_ptr(), weight.data_ptr()}


def test_halves_must_be_equal() -> None:
    with pytest.raises(ValueError, match="found rows of 3 elements; must be two equal halves"):
        packed_swiglu(torch.ones(2, 3))


@pytest.mark.parametrize("implementation", ["reference", "triton"])
def test_a_frozen_weight_has_no_gradient_and_changes_none(implementation: Any) -> None:
    """The inputs' gradients are those beside a weight that trains."""
    source = torch.Generator().manual_seed(0)
    gate, up, weight = (torch.randn(shape, generator=source) for shape in ((4, 32), (4, 32), (8, 32)))
    gradients = []
    for trains in (True, False):
        leaves = gate.clone().requires_grad_(), up.clone().requires_grad_()
        held = weight.clone().requires_grad_(trains)
        with use(implementation):
            swiglu_linear(*leaves, held).square().sum().backward()
        assert (held.grad is not None) == trains
        gradients.append([leaf.grad for leaf in leaves])
    for expected, found in zip(*gradients, strict=True):
        assert expected is not None
        assert (expected - found).abs().max() < 1e-5
