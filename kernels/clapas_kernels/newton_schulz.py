"""The nearest orthogonal matrix by matrix products alone, as Muon takes it (Jordan et al., 2024).

    X = G / |G|_F;   five times:  A = X X^T;  P = b A + c A A;  X = a X + P X

for G with no more rows than columns, M <= N; else of its transpose. On singular values: s -> a s + b s^3 + c s^5.

A and P are symmetric, as A A = A A^T: the kernel computes the tiles on and below the diagonal and stores each twice,
the second time transposed. Multiplications and additions of a step: M^2 N + M^3 + M^2 N become (M^2 N + M^3) / 2 +
M^2 N, and half a tile's width more: a third less for square matrices, 28 % less for N = 4 M. The third product has no
symmetry and is PyTorch's. At M = N = 4,096, tiles of 128: 528 of 1,024 tiles; bf16, X read and A written, 67.1 MB.

Error. Each of A, P and X is rounded once a step to the dtype, with errors of at most u = eps / 2 relative to each
element, u / sqrt(3) in the mean square; sums are in fp32. To first order, with E_A, E_P and E_X those errors, X moves
by

    e = b E_A X + c (E_A A + A E_A) X + E_P X + E_X,
    |e|_F <= u / sqrt(3) (|A|_F (|b| s + 2 c s^3) + |P|_F s + |X|_F),   s = |X|_2

and later steps multiply what has no direction of its own by their derivative's mean square g^2 over all directions:
with f the polynomial and singular values s_i, the part of an error between singular vectors i and j is multiplied by
(f(s_i) - f(s_j)) / (s_i - s_j) where it is symmetric, by (f(s_i) + f(s_j)) / (s_i + s_j) where antisymmetric, and by
f(s_i) / s_i outside the row space. The errors of the steps are independent: |error|^2 = sum of (e_k g_{k+1} ... g_5)^2.
The tests evaluate this on the exact iteration and hold both implementations against it. A random matrix of 96 x 200 in
bf16: at most 0.077 of the result's norm, and 0.013 measured.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clapas_kernels.dispatch import register
from clapas_kernels.language import cdiv, jit, tl

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c: Jordan's, steepest at 0; after five steps singular values from 0.01 on lie in 0.7 to 1.2."""
SMALLEST_NORM = 1e-7
"""So that a matrix of zeros stays one."""
TILE, TILE_DEPTH = 128, 64
"""Rows and columns of a tile of a product, and how much of the sum is loaded at a time."""
WARPS, STAGES = 8, 3


def orthogonalise(matrices_BMN: Tensor) -> Tensor:
    """U V^T of each matrix U S V^T, up to singular values near 1, in the dtype given. A zero matrix stays zero.

    matrices_BMN: (..., M, N), fp32, bf16 or fp16. Carries no gradient.
    """
    return _orthogonalise(matrices_BMN)


def _prepared(matrices_BMN: Tensor) -> Tensor:
    """The matrices, or their transposes, with no more rows than columns, of norm 1, contiguous: (B, M, N)."""
    x_BMN = matrices_BMN.reshape(math.prod(matrices_BMN.shape[:-2]), *matrices_BMN.shape[-2:])
    x_BMN = x_BMN if x_BMN.shape[-2] <= x_BMN.shape[-1] else x_BMN.mT
    wide = torch.promote_types(x_BMN.dtype, torch.float32)
    norm_B11 = torch.linalg.vector_norm(x_BMN, dim=(-2, -1), keepdim=True, dtype=wide)
    # Frobenius bounds the spectral norm: all singular values are at most 1
    return (x_BMN / norm_B11.clamp(min=SMALLEST_NORM).to(x_BMN.dtype)).contiguous()


def _finished(x_BMN: Tensor, like_BMN: Tensor) -> Tensor:
    is_wide = like_BMN.shape[-2] <= like_BMN.shape[-1]
    return (x_BMN if is_wide else x_BMN.mT.contiguous()).view(like_BMN.shape)


def _reference(matrices_BMN: Tensor) -> Tensor:
    x_BMN = _prepared(matrices_BMN)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram_BMM = x_BMN @ x_BMN.mT
        polynomial_BMM = torch.baddbmm(gram_BMM, gram_BMM, gram_BMM, beta=b, alpha=c)
        x_BMN = torch.baddbmm(x_BMN, polynomial_BMM, x_BMN, beta=a)
    return _finished(x_BMN, matrices_BMN)


def orthogonalise_triton(matrices_BMN: Tensor) -> Tensor:
    """`orthogonalise` with its symmetric products by the kernel."""
    x_BMN = _prepared(matrices_BMN)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram_BMM = symmetric_product(x_BMN)
        polynomial_BMM = symmetric_product(gram_BMM, factor=c, of_itself=b)
        x_BMN = torch.baddbmm(x_BMN, polynomial_BMM, x_BMN, beta=a)
    return _finished(x_BMN, matrices_BMN)


def symmetric_product(x_BMK: Tensor, factor: float = 1.0, of_itself: float = 0.0) -> Tensor:
    """factor x x^T + of_itself x, (B, M, M), rounded once to the dtype of x.

    x_BMK: rows contiguous; symmetric where `of_itself` is not 0.
    """
    batch, size, depth = x_BMK.shape
    product_BMM = x_BMK.new_empty(batch, size, size)
    tiles = cdiv(size, TILE)
    if product_BMM.numel():
        _symmetric_product[(tiles * (tiles + 1) // 2, batch)](
            x_BMK, product_BMM, x_BMK.stride(0), x_BMK.stride(1), size, depth, factor, of_itself,
            ADDS=of_itself != 0, TILE=TILE, DEPTH=TILE_DEPTH, STAGES=STAGES, num_warps=WARPS,
        )  # fmt: skip
    return product_BMM


@jit
def _symmetric_product(
    X, PRODUCT, batch_stride, stride, size, depth, factor, of_itself,
    ADDS: tl.constexpr, TILE: tl.constexpr, DEPTH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    upper, left = tile_below_the_diagonal(tl.program_id(0))
    batch = tl.program_id(1).to(tl.int64)
    rows, columns = upper * TILE + tl.arange(0, TILE), left * TILE + tl.arange(0, TILE)
    X += batch * batch_stride
    PRODUCT += batch * size * size
    inner = tl.arange(0, DEPTH)
    ROWS, COLUMNS = X + rows.to(tl.int64)[:, None] * stride, X + columns.to(tl.int64)[None, :] * stride
    is_row, is_column = (rows < size)[:, None], (columns < size)[None, :]
    total = tl.zeros((TILE, TILE), tl.float32)
    for start in tl.range(0, depth, DEPTH, num_stages=STAGES):  # pyright: ignore[reportGeneralTypeIssues]
        places = start + inner
        one = tl.load(ROWS + places[None, :], mask=is_row & (places < depth)[None, :], other=0.0)
        other = tl.load(COLUMNS + places[:, None], mask=is_column & (places < depth)[:, None], other=0.0)
        total = tl.dot(one, other, total, input_precision="ieee")
    total *= factor
    if ADDS:
        total += of_itself * tl.load(ROWS + columns[None, :], mask=is_row & is_column, other=0.0).to(tl.float32)
    result = total.to(X.dtype.element_ty)
    tl.store(PRODUCT + rows.to(tl.int64)[:, None] * size + columns[None, :], result, mask=is_row & is_column)
    if upper != left:
        mirrored = PRODUCT + columns.to(tl.int64)[:, None] * size + rows[None, :]
        tl.store(mirrored, tl.trans(result), mask=(columns < size)[:, None] & (rows < size)[None, :])


@jit
def tile_below_the_diagonal(number):
    """(row, column) of a tile: 0 0, 1 0, 1 1, 2 0, 2 1, 2 2, …"""
    row = ((tl.sqrt(8.0 * number + 1.0) - 1) / 2).to(tl.int32)
    row = tl.where(row * (row + 1) // 2 > number, row - 1, row)  # fp32 may err by one
    row = tl.where((row + 1) * (row + 2) // 2 <= number, row + 1, row)
    return row, number - row * (row + 1) // 2


_orthogonalise = register(
    "orthogonalise(Tensor matrices) -> Tensor",
    reference=_reference,
    triton=orthogonalise_triton,
    fake=lambda matrices: matrices.new_empty(matrices.shape),
)
