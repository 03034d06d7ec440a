"""Results that are quantised before they are stored: within the bound of quantisation of the exact result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels import dequantise, fp8_add_rms_norm, fp8_quantise_rows, fp8_swiglu, use
from clapas_kernels.fp8_formats import FNUZ, HALF_SUBNORMAL, OCP, ROUNDOFF, NoFp8Error
from clapas_kernels.proof.interpreter import repaired
from clapas_kernels.proof.traffic import Traffic
from clapas_kernels.rms_norm import LARGEST
from clapas_kernels.target import TARGETS, assume
from kernels.contract import Operators, apart, far_apart, poisoned
from kernels.test_fp8 import assert_same, numbers

pytestmark = pytest.mark.slow

EPS = 1e-3
IN_FP32 = 2.0**-18
"""Of |y|: what y errs by in fp32, generously; fp8 rounds 2^14 times as much."""


@dataclass(frozen=True)
class Fused:
    """function: of the inputs, format and power_of_two. formula: of the inputs, in fp64: what is quantised."""

    function: Callable[..., tuple[Tensor, ...]]
    formula: Callable[..., Tensor]

    def inputs(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
        made = [numbers(*shape, spread=1.0, dtype=dtype, seed=seed) for seed in (0, 1)]
        return made if self.function is fp8_swiglu else [*made, numbers(shape[-1], spread=0.3, dtype=dtype, seed=2)]


def normed(x: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
    total = x + residual
    return total / (total.square().mean(-1, keepdim=True) + EPS).sqrt() * weight


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, *options: object, **named: object) -> tuple[Tensor, ...]:
    return fp8_add_rms_norm(x, residual, weight, EPS, *options, **named)  # pyright: ignore[reportArgumentType]


KINDS = {
    "add_rms_norm": Fused(add_rms_norm, normed),
    "swiglu": Fused(fp8_swiglu, lambda gate, up: F.silu(gate) * up),
}
of_each_kind = pytest.mark.parametrize("fused", KINDS.values(), ids=KINDS)


@of_each_kind
@pytest.mark.parametrize("format", [*OCP, *FNUZ], ids=str)
def test_errors_are_those_of_quantisation(implementation: str, fused: Fused, format: torch.dtype) -> None:
    """Number by number against fp64, odd sizes, both kinds of scale."""
    for shape in [(3, 300), (1, 7), (2, 2304), (2, 2, 136)]:
        for power_of_two in (False, True):
            inputs = fused.inputs(*shape)
            q, scales, *others = fused.function(*inputs, format, power_of_two=power_of_two)
            exact = fused.formula(*(x.double() for x in inputs))
            error = (exact - dequantise(q, scales).double()).abs()
            # `scales` of each number: what 1 dequantises to
            each = dequantise(torch.ones(shape).to(torch.float8_e4m3fn), scales).double()
            limit = torch.maximum(ROUNDOFF[format] * exact.abs(), HALF_SUBNORMAL[format] * each)
            assert (error <= limit + IN_FP32 * exact.abs()).all()
            amax = fp8_quantise_rows(exact, format, power_of_two)[1]
            torch.testing.assert_close(scales, amax, rtol=1e-5, atol=0)
            for total in others:
                assert torch.equal(total, (inputs[0].float() + inputs[1].float()).bfloat16())


@of_each_kind
def test_rows_may_stand_apart(implementation: str, fused: Fused) -> None:
    """Also so far apart that a place does not fit 32 bits; nothing else is written, and no two programs meet."""
    inputs = fused.inputs(5, 300)
    wanted = fused.function(*inputs)
    for spread in (lambda x: apart(x, 3), lambda x: apart(x, 16), far_apart):
        assert_same(fused.function(*map(spread, inputs)), wanted)
    watched = Traffic(races=True, read_only=inputs) if implementation == "triton" else nullcontext()
    with poisoned(), watched:
        assert_same(fused.function(*inputs), wanted)


@of_each_kind
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # NumPy's, of infinity times 0
def test_nothing_and_what_is_not_finite(implementation: str, fused: Fused) -> None:
    """No rows, no bytes; an infinite input spoils no other row."""
    q, scales, *_ = fused.function(*fused.inputs(0, 300))
    assert (q.shape, scales.shape) == ((0, 300), (0, 3))
    inputs = fused.inputs(3, 300)
    sound = fused.function(*inputs)[0].float()
    inputs[0][1, 200] = torch.inf
    q, scales, *_ = fused.function(*inputs)
    assert scales[1].isnan().any()
    assert torch.equal(q.float()[::2], sound[::2])


@of_each_kind
def test_without_fp8_it_is_refused(fused: Fused) -> None:
    for name in ("sm_80", "gfx90a"):
        with assume(TARGETS[name]), pytest.raises(NoFp8Error, match=f"{name} has no fp8"):
            fused.function(*fused.inputs(2, 16))


def test_a_row_that_fits_no_program_is_refused() -> None:
    inputs = KINDS["add_rms_norm"].inputs(1, LARGEST + 1)
    with repaired(), use("triton"), pytest.raises(ValueError, match="found rows of 8193 elements"):
        add_rms_norm(*inputs)


@of_each_kind
def test_its_operator_is_what_pytorch_wants(fused: Fused) -> None:
    with repaired(), use("triton"):
        with Operators() as seen:
            fused.function(*fused.inputs(2, 3, 300, dtype=torch.float32))
        ((operator, arguments),) = seen.calls
        torch.library.opcheck(operator, arguments)
