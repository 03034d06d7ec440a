"""The traffic meter: known counts of known kernels, and each planted fault is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from clapas_kernels.language import jit
from clapas_kernels.proof.interpreter import only_programs
from clapas_kernels.proof.reserved import distant_rows, reserved
from clapas_kernels.proof.touched import InputWrittenError, OutOfBoundsError, RaceError
from clapas_kernels.proof.traffic import Traffic, bytes_of

BLOCK = 64


@jit
def copy(X, Y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at, mask=at < n), mask=at < n)


@jit
def copy_without_mask(X, Y, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at))


@jit
def store_without_mask(X, Y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at, mask=at < n))


@jit
def spread(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + tl.program_id(0) * BLOCK + at, tl.load(X + at))


@jit
def gather(X, Y, step, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at * step))


@jit
def copy_tile(X, Y, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    tl.store(Y + row * COLUMNS + column, tl.load(X + row.to(tl.int64) * stride + column))


@jit
def all_store_one_block(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at) + tl.program_id(0))


@jit
def add_to_block(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.atomic_add(Y + at, tl.load(X + at))


@jit
def add_then_load(X, Y, BLOCK: tl.constexpr):
    tl.atomic_add(Y, 1.0)
    tl.store(X + tl.program_id(0), tl.load(Y))


@jit
def load_all_store_own(X, Y, BLOCK: tl.constexpr):
    """The last program stores what every program has loaded."""
    at = tl.arange(0, BLOCK)
    x = tl.load(X + at)
    if tl.program_id(0) == tl.num_programs(0) - 1:
        tl.store(X + at, x + 1)


@jit
def lanes_store_one_address(X, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at // 2, tl.load(X + at))


@jit
def load_back(X, Y, BARRIER: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at, tl.load(X + at))
    if BARRIER:
        tl.debug_barrier()
    tl.store(X + at, tl.load(Y + BLOCK - 1 - at))


@jit
def copy_described(DESCRIPTOR, Y, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(Y + at[:, None] * BLOCK + at[None, :], DESCRIPTOR.load([0, 0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float8_e4m3fn, torch.int64], ids=str)
def test_masked_lanes_move_nothing(dtype: torch.dtype) -> None:
    x, y = torch.zeros(100, dtype=dtype), torch.zeros(100, dtype=dtype)
    with Traffic(races=True) as traffic:
        copy[(2,)](x, y, 100, BLOCK=BLOCK)
    assert (traffic.total("loaded"), traffic.total("stored")) == (100 * dtype.itemsize, 100 * dtype.itemsize)
    assert traffic.total("dram") == bytes_of(x, y)
    assert (traffic.count(), traffic.records[0].programs) == (1, 2)


def test_a_second_load_is_issued_but_costs_no_dram() -> None:
    x, y = torch.ones(BLOCK), torch.zeros(4 * BLOCK)
    with Traffic() as traffic:
        spread[(4,)](x, y, BLOCK=BLOCK)
    assert (traffic.total("loaded"), traffic.total("dram_read")) == (4 * bytes_of(x), bytes_of(x))


def test_a_second_launch_reads_again() -> None:
    x, y = torch.ones(BLOCK), torch.zeros(BLOCK)
    with Traffic() as traffic:
        for _ in range(2):
            copy[(1,)](x, y, BLOCK, BLOCK=BLOCK)
    assert traffic.total("dram") == 2 * bytes_of(x, y)
    assert "copy" in traffic.table()


@pytest.mark.parametrize(("step", "sectors"), [(1, 8), (2, 16), (8, 64), (16, 64)])
def test_sectors_see_strides(step: int, sectors: int) -> None:
    x, y = torch.ones(BLOCK * 16 + 8), torch.zeros(BLOCK + 8)
    x, y = (t[(-t.data_ptr() % 32) // 4 :] for t in (x, y))  # from a sector's first byte
    with Traffic() as traffic:
        gather[(1,)](x, y, step, BLOCK=BLOCK)
    assert (traffic.records[0].sectors_loaded, traffic.records[0].sectors_stored) == (sectors, 8)
    assert traffic.total("sectors") == 32 * (sectors + 8)


@pytest.mark.parametrize("rows", [4, 64])
def test_a_tile_of_strided_rows_counts_its_elements(rows: int) -> None:
    x, y = torch.randn(rows, 100)[:, :16], torch.zeros(rows, 16)
    with Traffic(races=True) as traffic:
        copy_tile[(1,)](x, y, x.stride(0), ROWS=rows, COLUMNS=16)
    assert torch.equal(x, y)
    assert traffic.total("dram") == 2 * rows * 16 * 4


def test_atomics_read_and_write() -> None:
    x, y = torch.ones(BLOCK), torch.zeros(BLOCK)
    with Traffic(races=True) as traffic:
        add_to_block[(3,)](x, y, BLOCK=BLOCK)
    assert (y == 3).all()
    assert traffic.total("atomics") == 3 * 2 * bytes_of(y)
    assert (traffic.total("dram_read"), traffic.total("dram_written")) == (bytes_of(x, y), bytes_of(y))


def test_a_descriptor_counts_as_its_tensor() -> None:
    x, y = torch.ones(16, 16), torch.zeros(16, 16)
    with Traffic() as traffic:
        copy_described[(1,)](TensorDescriptor.from_tensor(x, [16, 16]), y, BLOCK=16)
    assert traffic.total("dram_read") == bytes_of(x)
    assert (y == 1).all()


@pytest.mark.parametrize(
    ("kernel", "verb"), [(copy_without_mask, "loads outside"), (store_without_mask, "stores outside")]
)
def test_out_of_bounds_is_found(kernel: Any, verb: str) -> None:
    whole = torch.zeros(1000)
    arguments = (whole.clone()[:100].clone(), torch.zeros(100))
    if kernel is store_without_mask:
        arguments += (100,)
    with pytest.raises(OutOfBoundsError, match=f"program 1 {verb} every tensor"), Traffic():
        kernel[(2,)](*arguments, BLOCK=BLOCK)


def test_between_the_rows_of_a_view_is_out_of_bounds() -> None:
    x, y = torch.zeros(4, 100)[:, :60], torch.zeros(4, BLOCK)
    with pytest.raises(OutOfBoundsError, match="between the elements"), Traffic():
        copy_tile[(1,)](x, y, x.stride(0), ROWS=4, COLUMNS=BLOCK)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (all_store_one_block, "program 1 stores what another program stored"),
        (add_then_load, "program 1 updates atomically what another program loaded"),
        (load_all_store_own, "program 2 stores what another program loaded"),
        (lanes_store_one_address, "program 0 stores one address from several lanes"),
    ],
)
def test_a_race_is_found(kernel: Any, message: str) -> None:
    x, y = torch.zeros(BLOCK), torch.zeros(BLOCK)
    kernel[(3,)](x, y, BLOCK=BLOCK)  # not looked for: the interpreter runs programs in order, and all seems well
    with pytest.raises(RaceError, match=message), Traffic(races=True):
        kernel[(3,)](x, y, BLOCK=BLOCK)


def test_a_program_may_load_what_it_stored_after_a_barrier_only() -> None:
    x, y = torch.zeros(BLOCK), torch.zeros(BLOCK)
    with Traffic(races=True):
        load_back[(1,)](x, y, BARRIER=True, BLOCK=BLOCK)
    with pytest.raises(RaceError, match="what it stored itself"), Traffic(races=True):
        load_back[(1,)](x, y, BARRIER=False, BLOCK=BLOCK)


def test_a_store_into_an_input_is_found() -> None:
    x, y = torch.zeros(BLOCK), torch.zeros(BLOCK)
    with pytest.raises(InputWrittenError, match="copy: program 0 stores into an input"), Traffic(read_only=[y]):
        copy[(1,)](x, y, BLOCK, BLOCK=BLOCK)


def test_aten_between_launches_is_counted() -> None:
    x = torch.ones(10, 64)
    with Traffic() as traffic:
        torch.zeros_like(x)
        x.sum(0)
        torch.empty_like(x).copy_(x)
        x.t().view(64, 10).unsqueeze(0)
    assert [record.name for record in traffic.records] == ["aten.zeros_like", "aten.sum", "aten.copy_"]
    assert traffic.total("dram") == 2560 + (2560 + 256) + (2560 + 2560)


def test_aten_in_place_and_into_a_tensor_is_counted() -> None:
    x, y = torch.ones(64), torch.ones(64)
    with Traffic() as traffic:
        x.add_(y)
        torch.mul(x, x, out=y)
        x.expand(4, 64).sum()
    assert [(record.dram_read, record.dram_written) for record in traffic.records] == [
        (512, 256),
        (256, 256),  # an argument that is given twice is read once
        (256, 4),  # what is expanded is in memory once
    ]


def test_a_custom_operator_counts_as_what_it_does() -> None:
    library = torch.library.Library("clapas_test", "FRAGMENT")
    library.define("sum_of_copy(Tensor x) -> Tensor")

    def sum_of_copy(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        copy[(1,)](x, y, len(x), BLOCK=BLOCK)
        return y.sum()

    library.impl("sum_of_copy", sum_of_copy, "CompositeExplicitAutograd")
    x = torch.ones(BLOCK)
    with Traffic() as traffic:
        result = torch.ops.clapas_test.sum_of_copy(x)
    assert result.item() == BLOCK
    assert [record.name for record in traffic.records] == ["copy", "aten.sum"]
    assert traffic.total("dram") == 256 + 256 + (256 + 4)


def test_a_tensor_past_2_31_elements_can_be_metered() -> None:
    x, y = distant_rows(torch.randn(3, 16), stride=2**30), torch.zeros(3, 16)
    with Traffic(races=True) as traffic:
        copy_tile[(1,)](x[:2], y[:2], 2**30, ROWS=2, COLUMNS=16)
    assert traffic.total("dram") == 2 * bytes_of(y[:2])


def test_an_address_that_overflowed_int32_is_out_of_bounds() -> None:
    x, y = reserved(2**31 + BLOCK, dtype=torch.int8), torch.ones(BLOCK, dtype=torch.int8)
    with pytest.raises(OutOfBoundsError, match=f"program {2**31 // BLOCK} loads outside"), Traffic(), only_programs(-1):
        copy[(2**31 // BLOCK + 1,)](x, y, 1, BLOCK=BLOCK)


def test_after_the_meter_nothing_is_watched() -> None:
    with Traffic() as traffic:
        pass
    copy[(1,)](torch.zeros(BLOCK), torch.zeros(BLOCK), BLOCK, BLOCK=BLOCK)
    torch.zeros(3).sum()
    assert traffic.records == []
