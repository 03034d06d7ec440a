"""Quantisation to fp8: errors within the bounds that are derived, bytes the same by reference and kernel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import cast

import pytest
import torch
from torch import Tensor

from clapas_kernels import (
    dequantise,
    explain,
    fp8_quantise,
    fp8_quantise_both,
    fp8_quantise_rows,
    fp8_quantise_tiles,
    use,
)
from clapas_kernels.constant_in_graphs import constant_in_graphs
from clapas_kernels.fp8 import BLOCK, make_scale
from clapas_kernels.fp8_formats import FNUZ, HALF_SUBNORMAL, OCP, ROUNDOFF, NoFp8Error, backward_format, forward_format
from clapas_kernels.proof.interpreter import repaired
from clapas_kernels.proof.traffic import Traffic
from clapas_kernels.target import TARGETS, Target, assume
from kernels.contract import Operators, apart, far_apart, poisoned

FORMATS = [*OCP, *FNUZ]
CPU = torch.device("cpu")

Quantise = Callable[..., tuple[Tensor, ...]]
BLOCKS: dict[Quantise, tuple[int, int]] = {fp8_quantise_rows: (1, BLOCK), fp8_quantise_tiles: (BLOCK, BLOCK)}
KINDS = [fp8_quantise, *BLOCKS]
of_each_kind = pytest.mark.parametrize("quantise", KINDS, ids=lambda kind: kind.__name__)
of_each_format = pytest.mark.parametrize("dtype", FORMATS, ids=str)


def numbers(*shape: int, spread: float = 4.0, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Tensor:
    """Of many magnitudes, so that all parts of a format are reached: `spread` is of the logarithm."""
    source = torch.Generator().manual_seed(seed)
    size = torch.exp(spread * torch.randn(shape, generator=source))
    return (torch.randn(shape, generator=source) * size).to(dtype)


def bits(results: tuple[Tensor, ...]) -> list[Tensor]:
    """Bytes of the fp8, and scales."""
    return [x.view(torch.uint8) if x.element_size() == 1 else x for x in results]


def assert_same(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    for number, (one, other) in enumerate(zip(bits(found), bits(wanted), strict=True)):
        assert one.dtype == other.dtype
        assert torch.equal(one, other), f"result {number}"


def scales_of(scale: Tensor, quantise: Quantise, like: Tensor) -> Tensor:
    """The scale of each number, fp64."""
    ones = torch.ones(like.shape, dtype=torch.float8_e4m3fn)
    return dequantise(ones, scale, BLOCKS.get(quantise, (1, 1))).double()


def amax_of(x: Tensor, quantise: Quantise) -> Tensor:
    """The largest of those numbers that share a scale with each, by loops: written apart from the reference."""
    rows, columns = BLOCKS.get(quantise, x.shape)
    largest = torch.empty_like(x)
    for top in range(0, x.shape[0], rows):
        for left in range(0, x.shape[1], columns):
            block = slice(top, top + rows), slice(left, left + columns)
            largest[block] = x[block].abs().max()
    return largest


@of_each_kind
@of_each_format
@pytest.mark.parametrize("power_of_two", [False, True])
def test_errors_are_within_the_derived_bound(quantise: Quantise, dtype: torch.dtype, power_of_two: bool) -> None:
    """Number by number, against fp64, by the reference, whose bytes are the kernels'; and the bound is not idle."""
    x = numbers(150, 260)
    q, scale, *_ = quantise(x, dtype, power_of_two=power_of_two)
    exact, scales = x.double(), scales_of(scale, quantise, x)
    error = (exact - q.double() * scales).abs()
    in_fp32 = 0.0 if power_of_two else 2.0**-22
    bound = torch.maximum(ROUNDOFF[dtype] * exact.abs(), HALF_SUBNORMAL[dtype] * scales) + in_fp32 * exact.abs()
    assert (error <= bound).all()
    is_normal = ROUNDOFF[dtype] * exact.abs() > HALF_SUBNORMAL[dtype] * scales
    # 1 / (1 + r) of the bound is what a rounding can reach; numbers below the least normal one are reached, too
    assert (error / bound)[is_normal].max() > 0.8
    assert (error / bound)[~is_normal].max() > 0.8


@of_each_kind
@of_each_format
def test_scales_are_of_the_largest_number(quantise: Quantise, dtype: torch.dtype) -> None:
    """amax / M to one rounding; with `power_of_two` the next power, which multiplies exactly."""
    x = numbers(150, 260, spread=1.0)
    wanted = amax_of(x.double(), quantise) / torch.finfo(dtype).max
    scales = scales_of(quantise(x, dtype)[1], quantise, x)
    assert ((scales - wanted).abs() <= 2.0**-24 * wanted).all()
    q, scale, *_ = quantise(x, dtype, power_of_two=True)
    powers = scales_of(scale, quantise, x)
    assert (powers.frexp().mantissa == 0.5).all()
    assert (powers >= wanted * (1 - 2.0**-24)).all()
    assert (powers < 2 * wanted).all()
    product = dequantise(q, scale, BLOCKS.get(quantise, (1, 1)))
    assert torch.equal(product, product.bfloat16().float())


@of_each_kind
@of_each_format
@pytest.mark.parametrize(
    "wide",
    [
        torch.float32,
        torch.bfloat16,
        pytest.param(torch.float16, marks=pytest.mark.slow),
        pytest.param(torch.float64, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_kernel_gives_the_bytes_of_the_reference(quantise: Quantise, dtype: torch.dtype, wide: torch.dtype) -> None:
    """And its scales, bit for bit; odd sizes, a row, a column, many magnitudes."""
    shapes = [(5, 300), (1, 7), (3, 1), (3, 2304), *([(129, 130)] if quantise in BLOCKS else [])]
    for number, shape in enumerate(shapes):
        x, power_of_two = numbers(*shape, dtype=wide, spread=2.0), bool((number + FORMATS.index(dtype)) % 2)
        with repaired(), use("triton"):
            found = quantise(x, dtype, power_of_two=power_of_two)
        with use("reference"):
            assert_same(found, quantise(x, dtype, power_of_two=power_of_two))


@of_each_kind
def test_rows_may_stand_apart(implementation: str, quantise: Quantise) -> None:
    """Strides, transposed too; and rows so far apart that a place does not fit 32 bits."""
    x = numbers(21, 300)
    wanted = quantise(x)
    for spread in (apart(x, 3), apart(x, 16), far_apart(x), x.t().contiguous().t()):
        assert_same(quantise(spread), wanted)
        assert quantise(spread)[0].is_contiguous()


@of_each_kind
def test_nothing_but_the_results_is_written(implementation: str, quantise: Quantise) -> None:
    """All of them, whatever the memory held; no two programs meet. And twice the same bits."""
    x = apart(numbers(21, 300), 5)
    base = cast(Tensor, x._base)
    before, wanted = base.clone(), quantise(x)
    watched = Traffic(races=True, read_only=[x]) if implementation == "triton" else nullcontext()
    with poisoned(), watched:
        assert_same(quantise(x), wanted)
    torch.testing.assert_close(base, before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("known", [False, True])
def test_both_layouts_are_the_one_and_its_transpose(implementation: str, known: bool) -> None:
    """Of odd sizes, rows that stand apart, an empty matrix; nothing else is written, and no two programs meet."""
    for shape in [(70, 130), (1, 7), (64, 16), (0, 5)]:
        x, amax = apart(numbers(*shape), 5), torch.tensor(2.0) if known else None
        wanted, *others = fp8_quantise(x, torch.float8_e5m2, amax)
        watched = Traffic(races=True, read_only=[x]) if implementation == "triton" else nullcontext()
        with poisoned(), watched:
            found, turned, *same = fp8_quantise_both(x, torch.float8_e5m2, amax)
        assert_same((found, turned, *same), (wanted, wanted.t().contiguous(), *others))
        assert turned.is_contiguous()


def test_leading_dimensions(implementation: str) -> None:
    """A batch of sequences is quantised as its rows are; scales lie in the order that products read."""
    x = numbers(2, 3, 300)
    q, scales = fp8_quantise_rows(x)
    wanted, scales_of_rows = fp8_quantise_rows(x.flatten(0, 1))
    assert torch.equal(q.flatten(0, 1).view(torch.uint8), wanted.view(torch.uint8))
    assert torch.equal(scales, scales_of_rows.unflatten(0, (2, 3)))
    assert (scales.shape, scales_of_rows.stride()) == ((2, 3, 3), (1, 6))
    q, scales = fp8_quantise_rows(x[0, 0])
    assert (q.shape, scales.shape) == ((300,), (3,))


@of_each_kind
def test_zeros_and_nothing(implementation: str, quantise: Quantise) -> None:
    """All zeros have scale 1; no numbers have no bytes."""
    q, scale, *others = quantise(torch.zeros(3, 200, dtype=torch.bfloat16))
    assert not q.view(torch.uint8).any()
    assert (scale == 1).all()
    assert not any(amax.any() for amax in others)
    for shape in [(0, 200), (3, 0)]:
        q, scale, *others = quantise(torch.zeros(shape))
        assert q.shape == shape
        assert (scale == 1).all()
        assert not any(amax.any() for amax in others)


@of_each_kind
@of_each_format
@pytest.mark.parametrize("amax", [1e-45, 1e-38, 3e38], ids=str)
def test_the_ends_of_fp32(implementation: str, quantise: Quantise, dtype: torch.dtype, amax: float) -> None:
    """The scale and its inverse are finite, whatever the numbers."""
    x = torch.full((2, 4), amax)
    for power_of_two in (False, True):
        q, scale, *_ = quantise(x, dtype, power_of_two=power_of_two)
        assert scale.isfinite().all()
        assert (1 / scale).isfinite().all()
        assert (scale > 0).all()
        least = max(ROUNDOFF[dtype] * x.double()[0, 0], HALF_SUBNORMAL[dtype] * scale.double().max())
        assert ((q.double() * scale.double().max() - x.double()).abs() <= least + 2.0**-22 * amax).all()


@of_each_format
@pytest.mark.parametrize("bad", [torch.inf, torch.nan, -torch.inf], ids=str)
def test_what_is_not_finite_spoils_what_shares_its_scale(implementation: str, dtype: torch.dtype, bad: float) -> None:
    """amax says it; other blocks are sound; with the scale of another amax, that number alone is NaN."""
    x = numbers(130, 260)
    x[129, 1] = bad
    few = x[126:]
    q, scale, amax = fp8_quantise(few, dtype)
    assert scale.isnan()
    assert q.float().isnan().all()
    assert not amax.isfinite()
    q, scales = fp8_quantise_rows(x, dtype)
    assert q.float().isnan().sum() == BLOCK
    assert scales.isnan().sum() == 1
    assert scales[129, 0].isnan()
    q, scales = fp8_quantise_tiles(x, dtype)
    assert q.float().isnan().sum() == 2 * BLOCK
    assert scales.isnan().sum() == 1
    assert scales[1, 0].isnan()
    q, scale, amax = fp8_quantise(few, dtype, torch.tensor(1.0))
    assert q.float().isnan().nonzero().tolist() == [[3, 1]]
    assert scale.isfinite()
    assert not amax.isfinite()


@of_each_format
def test_the_scale_may_be_of_another_amax(implementation: str, dtype: torch.dtype) -> None:
    """Larger numbers are limited to the format's largest; the tensor's own amax is told all the same."""
    x = numbers(7, 3000)
    given = torch.tensor(2.0)
    q, scale, amax = fp8_quantise(x, dtype, given)
    assert torch.equal(amax, x.float().abs().max())
    assert torch.equal(scale, make_scale(given, dtype))
    beyond = x.double().abs() > 2
    assert beyond.any()
    assert (q.double().abs()[beyond] == torch.finfo(dtype).max).all()
    assert torch.equal(q.double().sign()[beyond], x.double().sign()[beyond])
    with repaired(), use("triton" if implementation == "reference" else "reference"):
        assert_same(fp8_quantise(x, dtype, given), (q, scale, amax))
    same = fp8_quantise(x, dtype, x.float().abs().max())
    assert_same(same, fp8_quantise(x, dtype))


def test_which_accelerator_has_which_format() -> None:
    """AMD's gfx942 the FNUZ ones; A100 and MI250X none, and the message names them."""
    others = {name: Target(name, "hip", 256, 64) for name in ("gfx950", "gfx1201")} | {
        "sm_89": Target("sm_89", "cuda", 142, 32)
    }
    for name, target in (TARGETS | others).items():
        with assume(target):
            if name in ("sm_80", "gfx90a"):
                with pytest.raises(NoFp8Error, match=rf"{name} has no fp8; of (NVIDIA, sm_89|AMD, gfx942)"):
                    forward_format(CPU)
                for quantise in KINDS:
                    with pytest.raises(NoFp8Error, match=f"fp8_quantise: {name} has no fp8"):
                        quantise(torch.ones(2, 2))
            else:
                wanted = FNUZ if name == "gfx942" else OCP
                assert (forward_format(CPU), backward_format(CPU)) == wanted
                assert fp8_quantise(torch.ones(2, 2))[0].dtype == wanted[0]


def test_explain_says_where_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with assume(TARGETS["sm_80"]):
        explain()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("fp8_quantise")]
    assert len(lines) == 4
    assert all(line[1:3] == ["refused", "sm_80"] for line in lines)


def test_its_operators_are_what_pytorch_wants() -> None:
    """Schemas, fake results and strides; and the compiler changes no bit."""
    x = numbers(21, 300, dtype=torch.float32)
    with repaired(), use("triton"):
        with Operators() as seen:
            plain = [quantise(x) for quantise in KINDS] + [
                fp8_quantise(x, None, torch.tensor(1.0)),
                fp8_quantise_both(x),
            ]
        for operator, arguments in seen.calls:
            torch.library.opcheck(operator, arguments)
        assert len(seen.calls) == 5
        torch.compiler.reset()
        for quantise, wanted in zip(KINDS, plain, strict=False):
            compiled = torch.compile(quantise, backend="aot_eager", fullgraph=True, dynamic=False)
            assert_same(compiled(x), wanted)


def test_a_constant_in_graphs_is_what_torch_makes_of_it() -> None:
    """Our decorator, which loads no compiler, leaves on a function what torch's own does."""

    def plain() -> int:
        return 1

    def same() -> int:
        return 1

    assert vars(constant_in_graphs(plain)) == vars(torch.compiler.assume_constant_result(same))
    assert vars(plain)
