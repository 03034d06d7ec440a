"""The nearest orthogonal matrix, and the symmetric products that make it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from clapas_kernels import newton_schulz, orthogonalise, use
from clapas_kernels.language import jit, tl
from clapas_kernels.newton_schulz import COEFFICIENTS, STEPS, symmetric_product, tile_below_the_diagonal
from clapas_kernels.proof.interpreter import repaired
from clapas_kernels.proof.reserved import reserved
from clapas_kernels.proof.traffic import Traffic

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small matrices have several, and some that they do not fill."""
    monkeypatch.setattr(newton_schulz, "TILE", 32)
    monkeypatch.setattr(newton_schulz, "TILE_DEPTH", 16)


@pytest.fixture
def interpreted() -> Iterator[None]:
    """Kernels called by themselves."""
    with repaired():
        yield


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@jit
def _places(NUMBERS, ROWS, COLUMNS, COUNT: tl.constexpr):
    lanes = tl.arange(0, COUNT)
    row, column = tile_below_the_diagonal(tl.load(NUMBERS + lanes))
    tl.store(ROWS + lanes, row)
    tl.store(COLUMNS + lanes, column)


def polynomial(s: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    return s * (a + b * s.square() + c * s.square().square())


def gain(values_M: Tensor, columns: int) -> float:
    """g of the module: in the mean square over directions, of an error of a matrix with these singular values."""
    s, f, ratio = values_M[:, None], polynomial(values_M)[:, None], polynomial(values_M) / values_M
    differences = torch.where((s - s.t()).abs() > 1e-9, (f - f.t()) / (s - s.t() + 1e-300), 0.0)
    a, b, c = COEFFICIENTS
    slopes = a + 3 * b * values_M.square() + 5 * c * values_M**4
    symmetric = differences.square() + torch.diag(slopes.square())
    antisymmetric = ((f + f.t()) / (s + s.t())).square()
    rows = len(values_M)
    total = (symmetric + antisymmetric).sum() / 2 + (columns - rows) * ratio.square().sum()
    return float(total / (rows * columns)) ** 0.5


def exact_and_its_error(matrix_MN: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """The iteration in fp64, and the error that the module derives, by roundings to `dtype`.

    Of the start, x is rounded too, and its norm. Where sums are as exact as what they sum (fp32), each product errs by
    sqrt(depth) roundings more.
    """
    a, b, c = COEFFICIENTS
    x = matrix_MN.double()
    unit = torch.finfo(dtype).eps / 2 / 3**0.5
    times = 1 + x.shape[1] ** 0.5 if dtype == torch.float32 else 1.0
    x = x / x.norm()
    error = 2 * unit * float(x.norm())
    for _ in range(STEPS):
        values = torch.linalg.svdvals(x)
        top, gram = float(values.max()), x @ x.t()
        p = b * gram + c * gram @ gram
        new = a * x + p @ x
        made = float(gram.norm()) * (abs(b) * top + 2 * c * top**3) + float(p.norm()) * top + float(new.norm())
        error = (error**2 * gain(values, x.shape[1]) ** 2 + (times * unit * made) ** 2) ** 0.5
        x = new
    return x, error


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(96, 200), (64, 64)], ids=str)
def test_the_error_is_what_is_derived(implementation: str, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    """And not far less, or it would say nothing."""
    matrix = random(*shape, dtype=dtype)
    exact, allowed = exact_and_its_error(matrix, dtype)
    error = float((orthogonalise(matrix).double() - exact).norm())
    assert allowed / 20 < error <= allowed


def test_singular_values_near_one(implementation: str) -> None:
    """Those of 0.01 of the norm and more, as Jordan's coefficients promise."""
    matrix = random(40, 70)
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.65
    assert values.max() < 1.25


@pytest.mark.parametrize("shape", [(3, 50, 33), (2, 2, 20, 35), (7, 1), (1, 7), (1, 1), (33, 33)], ids=str)
def test_shapes(implementation: str, shape: tuple[int, ...]) -> None:
    """Stacks are taken one by one, tall matrices by their transposes."""
    matrices = random(*shape)
    found = orthogonalise(matrices)
    assert found.shape == shape
    assert found.is_contiguous()
    flat = matrices.reshape(-1, *shape[-2:])
    for one, result in zip(flat, found.reshape(flat.shape), strict=True):
        wide = one if shape[-2] <= shape[-1] else one.t()
        exact, allowed = exact_and_its_error(wide, torch.float32)
        exact = exact if shape[-2] <= shape[-1] else exact.t()
        assert float((result.double() - exact).norm()) <= allowed + 1e-6


def test_zeros_and_nothing(implementation: str) -> None:
    """A matrix that has no gradient stays zero; a stack of none is none."""
    assert not orthogonalise(torch.zeros(5, 9).bfloat16()).any()
    assert orthogonalise(torch.zeros(0, 5, 9)).shape == (0, 5, 9)


def test_any_strides_and_two_runs(implementation: str) -> None:
    """The same bits."""
    matrix = random(50, 40, dtype=torch.bfloat16)
    apart = torch.full((50, 43), torch.nan).bfloat16()
    apart[:, :40] = matrix
    assert torch.equal(orthogonalise(apart[:, :40]), orthogonalise(matrix))
    kept = matrix.clone()
    assert torch.equal(orthogonalise(matrix), orthogonalise(kept))
    assert torch.equal(matrix, kept)


def test_the_operator_is_what_pytorch_wants(implementation: str) -> None:
    torch.library.opcheck(torch.ops.clapas.orthogonalise.default, (random(20, 30),))


# The symmetric product


@pytest.mark.parametrize(("size", "depth"), [(96, 48), (97, 50), (31, 100), (1, 1)])
def test_a_symmetric_product(interpreted: None, size: int, depth: int) -> None:
    """x x^T, and with itself added."""
    x = random(2, size, depth)
    torch.testing.assert_close(symmetric_product(x), x @ x.mT, rtol=1e-5, atol=1e-4)
    gram = x @ x.mT / depth
    wanted = 2.0 * gram @ gram - 4.0 * gram
    torch.testing.assert_close(symmetric_product(gram, 2.0, -4.0), wanted, rtol=1e-5, atol=1e-4)


def test_half_of_the_tiles_are_computed_and_all_are_stored(interpreted: None) -> None:
    """Of 4 x 4 tiles 10 programs' loads; every element once; no two programs meet; and mirrored bit for bit."""
    x = random(1, 128, 64, dtype=torch.bfloat16)
    with Traffic(races=True, read_only=[x]) as traffic:
        product = symmetric_product(x)
    (record,) = traffic.records
    assert record.programs == 10
    assert record.loaded == 10 * 2 * 32 * 64 * 2
    assert record.stored == record.dram_written == 128 * 128 * 2
    assert torch.equal(product[0, :32, 32:], product[0, 32:, :32].t())


def test_the_place_of_a_tile(interpreted: None) -> None:
    """The first of all grids, and those around the diagonal of row 4,999, where fp32 errs."""
    first = 4_999 * 5_000 // 2
    numbers = torch.cat([torch.arange(1_020), torch.tensor([first - 1, first, first + 1, first + 4_999])]).int()
    rows, columns = torch.empty_like(numbers), torch.empty_like(numbers)
    _places[(1,)](numbers, rows, columns, COUNT=1_024)
    wanted = [(row, column) for row in range(45) for column in range(row + 1)][:1_020]
    wanted += [(4_998, 4_998), (4_999, 0), (4_999, 1), (4_999, 4_999)]
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == wanted


def test_matrices_past_two_billion_elements(interpreted: None) -> None:
    """Rows and matrices so far apart that their places do not fit 32 bits."""
    x = random(2, 40, 16, dtype=torch.bfloat16)
    spread = reserved(2, 40, 2**26 + 16, dtype=torch.bfloat16)[..., :16].copy_(x)
    assert torch.equal(symmetric_product(spread), symmetric_product(x))


def test_one_implementation_is_the_other() -> None:
    """In fp32, to some roundings."""
    matrix = random(40, 90)
    with repaired(), use("triton"):
        found = orthogonalise(matrix)
    torch.testing.assert_close(found, orthogonalise(matrix), rtol=1e-4, atol=1e-5)
