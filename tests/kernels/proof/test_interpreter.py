"""Each repair of triton's interpreter: what it computes is what a GPU would, and what triton ships is not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice
from triton.runtime import interpreter as shipped

from clapas_kernels.language import jit
from clapas_kernels.proof import interpreter
from clapas_kernels.proof.interpreter import only_programs, overflow_checked, repaired
from clapas_kernels.proof.reserved import distant_rows, reserved

BLOCK = 256
NUMBERS = torch.randn(BLOCK, generator=torch.Generator().manual_seed(1)) * 10
BF16, OTHER = NUMBERS.bfloat16(), NUMBERS.flip(0).bfloat16()
FP8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


@jit
def cast(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at).to(Y.dtype.element_ty))


@jit
def truncate(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at).to(Y.dtype.element_ty, fp_downcast_rounding="rtz"))


@jit
def binary(X, Z, Y, OP: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x, z = tl.load(X + at), tl.load(Z + at)
    if OP == "add":
        y = x + z
    elif OP == "mul":
        y = x * z
    elif OP == "max":
        y = tl.maximum(x, z)
    elif OP == "less":
        y = x < z
    elif OP == "clamp":
        y = tl.clamp(x, z * 0 - 1, z * 0 + 1)
    elif OP == "fma":
        y = tl.fma(x, z, x)
    else:
        y = tl.floor(x.to(tl.float32)).to(x.dtype) - z
    tl.store(Y + at, y)


@jit
def copy_where(X, Y, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at, mask=(at < BLOCK // 2) & (n > 2), other=0.0), mask=at < BLOCK)


@jit
def negate(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, -tl.load(X + at))


@jit
def total(X, Y, BLOCK: tl.constexpr):
    tl.store(Y, tl.sum(tl.load(X + tl.arange(0, BLOCK)), 0))


@jit
def smallest_place(X, Y, BLOCK: tl.constexpr):
    tl.store(Y, tl.argmin(tl.load(X + tl.arange(0, BLOCK)), 0))


@jit
def running_total(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.cumsum(tl.load(X + at), 0))


@jit
def product(A, B, C, N: tl.constexpr):
    row, column = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    a, b = tl.load(A + row * N + column), tl.load(B + row * N + column)
    tl.store(C + row * N + column, tl.dot(a, b))


@jit
def scale(X, Y, factor, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at) * factor.to(tl.float32))


@jit
def last_product(Y, n, STEP: tl.constexpr):
    for i in range(0, n):
        tl.store(Y, (i + 1) * STEP)


@jit
def last_product_of_row(Y, row, step):
    tl.store(Y, row * step)


@jit
def inverse_root(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, libdevice.rsqrt(tl.load(X + at)))


@jit
def count_leading_zeros(X, Y):
    tl.store(Y, libdevice.clz(tl.load(X)))


@jit
def copy_rows(X, Y, stride, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    if WIDE:
        row = row.to(tl.int64)
    tl.store(Y + row * BLOCK + at, tl.load(X + row * stride + at))


@jit
def mark(Y, BLOCK: tl.constexpr):
    tl.store(Y + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), tl.num_programs(0))


def agrees_only_repaired(compute: Callable[[], Tensor], truth: Tensor) -> None:
    """`compute` gives the truth bit for bit where repaired; as shipped it fails or gives something else."""
    with repaired():
        found = compute()
    assert torch.equal(found, truth), (found, truth)
    try:
        with np.errstate(all="ignore"):
            as_shipped = compute()
    except Exception:
        return
    assert not torch.equal(as_shipped, truth), "triton mended this: the repair can go"


def cast_to(x: Tensor, dtype: torch.dtype) -> Tensor:
    y = torch.zeros(len(x), dtype=dtype)
    cast[(1,)](x, y, BLOCK=len(x))
    return y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32], ids=str)
def test_a_cast_to_bf16_rounds_to_nearest_even(dtype: torch.dtype) -> None:
    x = (NUMBERS * 1000).to(dtype)
    agrees_only_repaired(lambda: cast_to(x, torch.bfloat16), x.bfloat16())


def test_a_cast_that_asks_to_truncate_does() -> None:
    y = torch.zeros(BLOCK, dtype=torch.bfloat16)
    with repaired():
        truncate[(1,)](NUMBERS, y, BLOCK=BLOCK)
        with pytest.raises(Exception, match="rounds towards zero: the interpreter has none"):
            truncate[(1,)](NUMBERS, y.to(torch.float8_e5m2), BLOCK=BLOCK)
    assert torch.equal(y.float().view(torch.int32), NUMBERS.view(torch.int32) & ~0xFFFF)


def test_bf16_keeps_nan_and_overflows_to_infinity() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 3.4e38])
    with repaired():
        y = cast_to(x, torch.bfloat16)
    assert y[0].isnan()
    assert y[1:].tolist() == [float("inf"), -float("inf"), float("inf")]


@pytest.mark.parametrize("dtype", FP8, ids=str)
@pytest.mark.parametrize("source", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_cast_to_fp8_rounds_to_nearest_even_and_saturates(source: torch.dtype, dtype: torch.dtype) -> None:
    x = torch.cat([NUMBERS[:-2], torch.tensor([1e9, -1e9])]).to(source).clamp(-6e4, 6e4)
    largest = torch.finfo(dtype).max
    truth = x.float().clamp(-largest, largest).to(dtype)
    agrees_only_repaired(lambda: cast_to(x, dtype).view(torch.uint8), truth.view(torch.uint8))


@pytest.mark.parametrize("dtype", FP8, ids=str)
def test_every_fp8_number_reads_as_itself(dtype: torch.dtype) -> None:
    x = torch.arange(256, dtype=torch.uint8).view(dtype)
    with repaired():
        assert torch.equal(cast_to(x, torch.float32).nan_to_num(123), x.float().nan_to_num(123))


@pytest.mark.parametrize(
    ("op", "truth"),
    [
        ("add", BF16 + OTHER),
        ("mul", BF16 * OTHER),
        ("max", torch.maximum(BF16, OTHER)),
        ("less", BF16 < OTHER),
        ("clamp", BF16.clamp(-1, 1)),
        ("fma", (BF16.double() * OTHER.double() + BF16.double()).bfloat16()),
        ("sub", BF16.floor() - OTHER),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bf16_arithmetic_is_of_numbers(op: str, truth: Tensor) -> None:
    def compute() -> Tensor:
        y = torch.zeros_like(truth)
        binary[(1,)](BF16, OTHER, y, OP=op, BLOCK=BLOCK)
        return y

    agrees_only_repaired(compute, truth)


def test_a_comparison_of_scalars_is_a_mask() -> None:
    def compute() -> Tensor:
        y = torch.zeros(BLOCK)
        copy_where[(1,)](NUMBERS, y, 3, BLOCK=BLOCK)
        return y

    agrees_only_repaired(compute, torch.where(torch.arange(BLOCK) < BLOCK // 2, NUMBERS, 0))


def into(kernel: Any, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    def compute() -> Tensor:
        out = torch.zeros_like(y)
        kernel[(1,)](x, out, BLOCK=len(x))
        return out

    return compute


def test_bf16_negates() -> None:
    agrees_only_repaired(into(negate, BF16, BF16), -BF16)


def test_a_sum_of_bf16_is_of_numbers() -> None:
    truth = torch.from_numpy(BF16.float().numpy().sum(keepdims=True)).bfloat16()
    agrees_only_repaired(into(total, BF16, truth), truth)


def test_the_smallest_bf16_is_found_by_number() -> None:
    truth = BF16.argmin().int().reshape(1)
    agrees_only_repaired(into(smallest_place, BF16, truth), truth)


def test_a_running_total_of_bf16_is_of_numbers() -> None:
    truth = torch.from_numpy(BF16.float().numpy().cumsum()).bfloat16()
    agrees_only_repaired(into(running_total, BF16, BF16), truth)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_a_dot_product_is_of_numbers(dtype: torch.dtype) -> None:
    a, b = NUMBERS.view(16, 16).to(dtype), NUMBERS.view(16, 16).t().contiguous().to(dtype)
    a.view(torch.uint8)[0, 0] = 0x7F  # NaN in E4M3, which the shipped interpreter reads as 480

    def compute() -> Tensor:
        c = torch.zeros(16, 16)
        product[(1,)](a, b, c, N=16)
        return c.nan_to_num(7)

    agrees_only_repaired(compute, torch.from_numpy(a.float().numpy() @ b.float().numpy()).nan_to_num(7))


def test_a_float_argument_is_a_scalar() -> None:
    def compute() -> Tensor:
        y = torch.zeros(BLOCK)
        scale[(1,)](NUMBERS, y, 0.1, BLOCK=BLOCK)
        return y

    agrees_only_repaired(compute, NUMBERS * 0.1)


def test_a_loop_variable_overflows_as_on_a_gpu() -> None:
    def compute() -> Tensor:
        y = torch.zeros(1, dtype=torch.int64)
        last_product[(1,)](y, 3, STEP=2**30)
        return y

    with repaired():
        assert compute().item() == 3 * 2**30 - 2**32
    assert compute().item() != 3 * 2**30 - 2**32, "triton mended this: the repair can go"


@pytest.mark.parametrize(("row", "overflows"), [(1, False), (2, True), (-2, False), (-3, True)])
def test_an_overflow_is_an_error_where_it_is_checked(row: int, overflows: bool) -> None:
    y = torch.zeros(1, dtype=torch.int64)
    with repaired(), overflow_checked():
        if overflows:
            with pytest.raises(Exception, match="int32 overflow detected for operation mul"):
                last_product_of_row[(1,)](y, row, 2**30)
        else:
            last_product_of_row[(1,)](y, row, 2**30)
    with repaired(), np.errstate(over="ignore"):
        last_product_of_row[(1,)](y, row, 2**30)  # not checked: it wraps


def test_libdevice_computes() -> None:
    x = NUMBERS.abs() + 1
    agrees_only_repaired(into(inverse_root, x, x), torch.from_numpy(1 / np.sqrt(x.numpy())))


def test_an_unknown_libdevice_function_raises() -> None:
    x = torch.ones(1, dtype=torch.int32)
    with repaired(), pytest.raises(Exception, match=r"libdevice\.clz is not known"):
        count_leading_zeros[(1,)](x, x)


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 a Path has no use here
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_launch_touches_only_what_it_addresses() -> None:
    x, y = distant_rows(BF16[:192].view(3, 64), stride=2**30), torch.zeros(3, 64, dtype=torch.bfloat16)
    before = resident_bytes()
    with repaired():
        copy_rows[(3,)](x, y, x.stride(0), WIDE=True, BLOCK=64)
    assert resident_bytes() - before < 2**24


def test_rows_past_2_31_elements_are_read_where_they_are() -> None:
    x, y = distant_rows(BF16[:192].view(3, 64), stride=2**30), torch.zeros(3, 64, dtype=torch.bfloat16)
    with repaired():
        copy_rows[(3,)](x, y, x.stride(0), WIDE=True, BLOCK=64)
        assert torch.equal(x, y)
        with overflow_checked(), pytest.raises(Exception, match="int32 overflow detected for operation mul"):
            copy_rows[(3,)](x, y, x.stride(0), WIDE=False, BLOCK=64)


def test_only_the_chosen_programs_of_a_large_grid_run() -> None:
    y = reserved(2**20, 2, dtype=torch.int32)
    with repaired(), only_programs(0, 1, 5, -1):
        mark[lambda meta: (2**20, 2)](y, BLOCK=1)
    assert y[:3].flatten().tolist() == [2**20, 2**20, 0, 0, 0, 2**20]
    assert y[-1].tolist() == [0, 2**20]
    with repaired():
        mark[(1, 2)](y, BLOCK=1)
    assert y[0].tolist() == [1, 1]


def test_after_the_repair_triton_is_as_shipped() -> None:
    watched = [shipped.InterpreterBuilder, shipped.ReduceOps, shipped.ScanOps, shipped.GridExecutor]
    before = [dict(vars(owner)) for owner in (*watched, shipped, shipped.ASTTransformer, libdevice)]
    with repaired(), repaired():
        assert shipped.InterpreterBuilder.cast_impl is not before[0]["cast_impl"]
    assert [dict(vars(owner)) for owner in (*watched, shipped, shipped.ASTTransformer, libdevice)] == before
    cast_to(NUMBERS, torch.float64)  # a kernel rewritten within runs without


def test_a_repair_for_good_stays() -> None:
    interpreter.repair()
    try:
        gc.collect()
        assert torch.equal(cast_to(NUMBERS, torch.bfloat16), BF16)
    finally:
        interpreter._for_good.close()
    assert not torch.equal(cast_to(NUMBERS, torch.bfloat16), BF16)


def test_another_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "__version__", "3.10.0")
    with pytest.raises(interpreter.UnsupportedTritonError, match=r"triton 3\.10\.0 is installed; .* triton 3\.9 only"):
        interpreter.check_triton()


def test_changed_internals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped.InterpreterBuilder, "binary_op", lambda self, lhs, rhs: None)
    with pytest.raises(
        interpreter.UnsupportedTritonError, match=r"InterpreterBuilder\.binary_op takes \(self lhs rhs\)"
    ):
        interpreter.check_triton()


def test_a_process_that_does_not_interpret_is_told() -> None:
    """Where the variable is not set, and where it is set after triton is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    code = """
import os
from clapas_kernels.proof import interpreter
for value in "01":
    os.environ["TRITON_INTERPRET"] = value
    try:
        interpreter.check_interpreting()
    except interpreter.NotInterpretingError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    off, late = run.stdout.splitlines()
    assert off.startswith("The interpreter is off")
    assert "came too late" in late
