"""Quantisation to fp8, with a scale for each tensor, each 1 x 128 or each 128 x 128 numbers.

    amax = max |x|,    s = amax / M,    q = fp8(x / s),    x is about q s;      M: the largest number of the format

`fp8_quantise`: one scale a tensor, of its own amax, which takes a pass more, or of the amax of steps before, which
takes none (delayed scaling: Micikevicius et al., 2022, arXiv:2209.05433; `AmaxHistory`). `fp8_quantise_rows` and
`fp8_quantise_tiles`: one scale for each 128 numbers of a row (activations) or each 128 x 128 of a weight (DeepSeek-V3,
2024, arXiv:2412.19437, section 3.3.2): an outlier costs its block its small numbers, and no other block.

In fp32, in this order, by reference and kernel alike, so that they agree bit for bit: s = amax / M; i = 1 / s;
q = fp8(min(max(x i, -M), M)), to the nearest, ties to even. The error, with u = 2^-24:

- x i = x / s (1 + d), |d| <= 2 u + u^2: two roundings. Rounded to fp8 it errs relatively by at most r (E4M3: 2^-4,
  E5M2: 2^-3), or, below the format's least normal number, absolutely by at most h, half its least number. So

      |x - q s| <= max(r |x|, h s) + 2^-22 |x|

- s itself is rounded, so x i may pass M by 3 u, which the limit takes off again: within the second term. Beyond, where
  the scale is that of another amax, x is limited to M s: the error is |x| - M s.
- A power of two (`power_of_two`), s rounded up to the next: d = 0, so no second term, and q s is exact in bf16; up to
  one bit of range is lost, so h s is up to twice as large. DeepSeek-V3 takes it where quantised numbers are transposed.

All zeros: amax = 0, s = 1. s is at least 2^-126, so that i is finite. Infinity and NaN: amax says so, and a scale of
that amax is NaN, as are then all numbers that share it: nothing of a tensor that overflowed looks sound. With the
scale of another amax those numbers alone are NaN; none saturates.

Traffic, bf16, T x E: blocks read 2 TE and write TE, and 4 bytes a block. One scale of an amax that is known: the same,
and 8 bytes for each 2,048 numbers, of which each program keeps its amax; of its own amax: 2 TE more. Both layouts: TE
more, where transposing what was quantised takes 2 TE. No atomics. At T = 16,384, E = 4,096: rows 203.4 MB, both
layouts 268.6.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clapas_kernels.dispatch import explained_by, register, runs_triton
from clapas_kernels.fp8_formats import NoFp8Error, forward_format, why_no_fp8_on
from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import MOST_THREADS, WIDEST_ACCESS, alignment, as_rows, load_row, piece_of_row, store_row
from clapas_kernels.target import target_of

BLOCK = 128
"""Numbers of a row, and rows of a tile, that share a scale."""
LEAST_SCALE = 2.0**-126
PIECE = 2048
"""Elements of a row that a program quantises."""
TILE = 64
"""Rows and columns that a program quantises into both layouts: with 256 threads, 16 bytes of each store."""
ROWS = 16
"""Rows that a program quantises where each 1 x 128 has a scale."""
_INFINITY = tl.constexpr(0x7F800000) if tl is not None else 0x7F800000
_MANTISSA = tl.constexpr(0x007FFFFF) if tl is not None else 0x007FFFFF
_MAGNITUDE = tl.constexpr(0x7FFFFFFF) if tl is not None else 0x7FFFFFFF


def fp8_quantise(
    x_NE: Tensor, dtype: torch.dtype | None = None, amax: Tensor | None = None, power_of_two: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """(q, s, amax of x): x in fp8, contiguous, with one scale; s and amax in fp32, ().

    x_NE: (..., E), any strides; fp64 is rounded to fp32 first. dtype: `forward_format` where None. amax: (), fp32, from
    which the scale is made, of steps before; that of x where None. Raises NoFp8Error. Has no gradient.
    """
    with torch.no_grad():
        dtype = checked_format(x_NE, dtype)
        return (_quantise if runs_triton(x_NE) else quantise_reference)(x_NE, amax, dtype, power_of_two)


def fp8_quantise_both(
    x_TE: Tensor, dtype: torch.dtype | None = None, amax: Tensor | None = None, power_of_two: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(q, q^T, s, amax of x): `fp8_quantise` of a matrix in both layouts, contiguous, from one pass.

    For products that sum over its rows and others that sum over its columns.
    """
    with torch.no_grad():
        dtype = checked_format(x_TE, dtype)
        return (_quantise_both if runs_triton(x_TE) else quantise_both_reference)(x_TE, amax, dtype, power_of_two)


def fp8_quantise_rows(
    x_NE: Tensor, dtype: torch.dtype | None = None, power_of_two: bool = False
) -> tuple[Tensor, Tensor]:
    """(q, s) with a scale for each 128 of a row: s: (..., ceil(E / 128)), fp32, transposed in memory, rows fastest.

    That is the order in which a matrix product reads them. Arguments and errors as `fp8_quantise`.
    """
    with torch.no_grad():
        dtype = checked_format(x_NE, dtype)
        quantise = _quantise_rows if runs_triton(x_NE) else quantise_rows_reference
        q_NE, scales_BT = quantise(x_NE, dtype, power_of_two)
        return q_NE, in_order_of_rows(scales_BT, x_NE)


def fp8_quantise_tiles(
    weight_FE: Tensor, dtype: torch.dtype | None = None, power_of_two: bool = False
) -> tuple[Tensor, Tensor]:
    """(q, s) with a scale for each 128 x 128 of a matrix: s: (ceil(F / 128), ceil(E / 128)), fp32."""
    with torch.no_grad():
        dtype = checked_format(weight_FE, dtype)
        quantise = _quantise_tiles if runs_triton(weight_FE) else quantise_tiles_reference
        return quantise(weight_FE, dtype, power_of_two)


def dequantise(q_NE: Tensor, scales: Tensor, block: tuple[int, int] = (1, BLOCK)) -> Tensor:
    """q s in fp32; scales: () for one, else with one for each `block` of rows and columns."""
    if scales.ndim == 0:
        return q_NE.float() * scales
    rows, size = q_NE.shape[-2] if q_NE.ndim > 1 else 1, q_NE.shape[-1]
    wide = scales.repeat_interleave(block[1], -1)[..., :size]
    return q_NE.float() * (wide if block[0] == 1 else wide.repeat_interleave(block[0], -2)[..., :rows, :])


def in_order_of_rows(scales_BT: Tensor, x_NE: Tensor) -> Tensor:
    """Scales as x is arranged, (..., B), where they lie."""
    return scales_BT.t().view(*x_NE.shape[:-1], len(scales_BT))


def scales_of_rows(x_NE: Tensor) -> Tensor:
    """Room for a scale of each 128 of a row, (ceil(E / 128), T)."""
    return x_NE.new_empty(cdiv(x_NE.shape[-1], BLOCK), math.prod(x_NE.shape[:-1]), dtype=torch.float32)


def checked_format(x: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """`dtype`, or E4M3 as the device has it. Raises NoFp8Error."""
    if reason := why_no_fp8_on(x.device):
        raise NoFp8Error(f"fp8_quantise: {reason}")
    return dtype or forward_format(x.device)


@explained_by("fp8_quantise", "fp8_quantise_both", "fp8_quantise_rows", "fp8_quantise_tiles")
def explain_refusal(device: str) -> tuple[str, str] | None:
    """What `explain` says of quantisation where there is no fp8."""
    reason = why_no_fp8_on(torch.device(device))
    return ("refused", reason) if reason else None


# The reference


def make_scale(amax: Tensor, dtype: torch.dtype, power_of_two: bool = False) -> Tensor:
    """s of each amax, fp32: amax / M; 1 for 0, NaN for infinity and NaN. See the module."""
    scale = (amax / torch.finfo(dtype).max).clamp_min(LEAST_SCALE)
    if power_of_two:
        scale = (scale.view(torch.int32) + 0x007FFFFF & 0x7F800000).view(torch.float32)
    return torch.where(amax.isfinite(), torch.where(amax == 0, 1.0, scale), torch.nan)


def _cast(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """x, in fp32, to fp8."""
    largest = torch.finfo(dtype).max
    limited = (x * (1 / scale)).clamp_(-largest, largest)
    return limited.masked_fill_(~x.isfinite(), torch.nan).to(dtype)


def quantise_reference(
    x_NE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`fp8_quantise` in PyTorch."""
    x = x_NE.float()
    own = x.abs().amax() if x.numel() else x.new_zeros(())
    scale = make_scale(own if amax is None else amax, dtype, power_of_two)
    return _cast(x, scale, dtype).contiguous(), scale, own


def quantise_both_reference(
    x_TE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`fp8_quantise_both` in PyTorch."""
    q_TE, scale, own = quantise_reference(x_TE, amax, dtype, power_of_two)
    return q_TE, q_TE.t().contiguous(), scale, own


def quantise_rows_reference(x_NE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_quantise_rows` in PyTorch; scales: (ceil(E / 128), T)."""
    q, scales = _quantise_blocks_reference(as_rows(x_NE), 1, dtype, power_of_two)
    return q.view(x_NE.shape), scales.t().contiguous()


def quantise_tiles_reference(weight_FE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_quantise_tiles` in PyTorch."""
    return _quantise_blocks_reference(weight_FE, BLOCK, dtype, power_of_two)


def _quantise_blocks_reference(
    x_TE: Tensor, rows: int, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor]:
    x, (height, width) = x_TE.float(), x_TE.shape
    down, across = cdiv(height, rows), cdiv(width, BLOCK)
    padded = x.new_zeros(down * rows, across * BLOCK)
    padded[:height, :width] = x
    blocks = padded.view(down, rows, across, BLOCK).transpose(1, 2)
    amax = blocks.abs().amax((2, 3)) if blocks.numel() else x.new_zeros(down, across)
    scales = make_scale(amax, dtype, power_of_two)
    q = _cast(blocks, scales[:, :, None, None], dtype).transpose(1, 2).reshape(padded.shape)
    return q[:height, :width].clone(memory_format=torch.contiguous_format), scales


# The kernels


@jit
def magnitude(x):
    """|x| as the integer of its bits: as large as x is, infinity above all numbers and NaN above infinity."""
    return x.to(tl.int32, bitcast=True) & _MAGNITUDE


@jit
def number(bits):
    """Of which these are the bits."""
    return bits.to(tl.float32, bitcast=True)


@jit
def scale_of(bits, M: tl.constexpr, LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr):
    """`make_scale` of the bits of amax."""
    scale = tl.maximum(tl.div_rn(number(bits), M), LEAST)
    if POWER_OF_TWO:
        scale = number((scale.to(tl.int32, bitcast=True) + _MANTISSA) & _INFINITY)
    return tl.where(bits < _INFINITY, tl.where(bits == 0, 1.0, scale), float("nan"))


@jit
def to_fp8(x, inverse, M: tl.constexpr, dtype: tl.constexpr):
    """x times the inverse of its scale, within M, as fp8."""
    scaled = x * inverse
    limited = tl.where(scaled > M, M, tl.where(scaled < -M, -M, scaled))
    return tl.where(magnitude(x) < _INFINITY, limited, float("nan")).to(dtype)


@jit
def _amax(X, AMAX, x_stride, N: tl.constexpr, PIECE: tl.constexpr, ALIGNMENT: tl.constexpr):
    row, columns = piece_of_row(N, PIECE)
    x = load_row(X + row * (x_stride * ALIGNMENT), columns, N, PIECE).to(tl.float32)
    tl.store(AMAX + tl.program_id(0), number(tl.max(magnitude(x), 0)))


@jit
def _largest(AMAX, LARGEST, programs, BLOCK: tl.constexpr):
    """Of the programs' amax, one program's work."""
    largest = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, programs, BLOCK):
        places = start + tl.arange(0, BLOCK)
        amax = tl.load(AMAX + places, mask=places < programs, other=0.0)
        largest = tl.maximum(largest, magnitude(amax))
    tl.store(LARGEST, number(tl.max(largest, 0)))


@jit
def _quantise_kernel(
    X, AMAX, Q, SCALE, OWN, x_stride, N: tl.constexpr, PIECE: tl.constexpr, ALIGNMENT: tl.constexpr, M: tl.constexpr,
    LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr, FINDS: tl.constexpr,
):  # fmt: skip
    row, columns = piece_of_row(N, PIECE)
    scale = scale_of(magnitude(tl.load(AMAX)), M, LEAST, POWER_OF_TWO)
    if tl.program_id(0) == 0:
        tl.store(SCALE, scale)
    x = load_row(X + row * (x_stride * ALIGNMENT), columns, N, PIECE).to(tl.float32)
    if FINDS:
        tl.store(OWN + tl.program_id(0), number(tl.max(magnitude(x), 0)))
    store_row(Q + row * N, columns, to_fp8(x, tl.div_rn(1.0, scale), M, Q.dtype.element_ty), N, PIECE)


@jit
def _quantise_both_kernel(
    X, AMAX, Q, TRANSPOSED, SCALE, OWN, x_stride, rows, N: tl.constexpr, TILE: tl.constexpr, ALIGNMENT: tl.constexpr,
    M: tl.constexpr, LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr, FINDS: tl.constexpr,
):  # fmt: skip
    across: tl.constexpr = (N + TILE - 1) // TILE
    taken = (tl.program_id(0) // across).to(tl.int64) * TILE + tl.arange(0, TILE)
    columns = tl.program_id(0) % across * TILE + tl.arange(0, TILE)
    scale = scale_of(magnitude(tl.load(AMAX)), M, LEAST, POWER_OF_TWO)
    if tl.program_id(0) == 0:
        tl.store(SCALE, scale)
    inside = (taken < rows)[:, None] & (columns < N)[None, :]
    places = taken[:, None] * (x_stride * ALIGNMENT) + columns[None, :]
    x = tl.load(X + places, mask=inside, other=0.0).to(tl.float32)
    if FINDS:
        tl.store(OWN + tl.program_id(0), number(tl.max(tl.max(magnitude(x), 1), 0)))
    q = to_fp8(x, tl.div_rn(1.0, scale), M, Q.dtype.element_ty)
    tl.store(Q + taken[:, None] * N + columns[None, :], q, mask=inside)
    turned = columns[:, None].to(tl.int64) * rows + taken[None, :]
    tl.store(TRANSPOSED + turned, tl.trans(q), mask=(columns < N)[:, None] & (taken < rows)[None, :])


@jit
def _quantise_blocks(
    X, Q, SCALES, x_stride, rows, N: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ALIGNMENT: tl.constexpr,
    M: tl.constexpr, LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr, IS_TILE: tl.constexpr,
):  # fmt: skip
    across: tl.constexpr = (N + BLOCK - 1) // BLOCK
    down, block = (tl.program_id(0) // across).to(tl.int64), tl.program_id(0) % across
    taken = down * ROWS + tl.arange(0, ROWS)
    columns = block * BLOCK + tl.arange(0, BLOCK)
    inside = (taken < rows)[:, None]
    if N % BLOCK != 0:
        inside &= (columns < N)[None, :]
    places = taken[:, None] * (x_stride * ALIGNMENT) + columns[None, :]
    x = tl.load(X + places, mask=inside, other=0.0).to(tl.float32)
    bits = tl.max(magnitude(x), 1)
    if IS_TILE:
        scale = scale_of(tl.max(bits, 0), M, LEAST, POWER_OF_TWO)
        tl.store(SCALES + tl.program_id(0), scale)
        inverse = tl.div_rn(1.0, scale)
    else:
        scale = scale_of(bits, M, LEAST, POWER_OF_TWO)
        tl.store(SCALES + block.to(tl.int64) * rows + taken, scale, mask=taken < rows)
        inverse = tl.div_rn(1.0, scale)[:, None]
    q = to_fp8(x, inverse, M, Q.dtype.element_ty)
    tl.store(Q + taken[:, None] * N + columns[None, :], q, mask=inside)


def warps_for_bytes(elements: int, device: torch.device) -> int:
    """With which each lane stores `WIDEST_ACCESS` bytes of fp8, or the most that a program may have."""
    warp_size = target_of(device).warp_size
    return max(1, min(elements // WIDEST_ACCESS, MOST_THREADS) // warp_size)


def quantise_triton(
    x_NE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`fp8_quantise` by its kernels: two launches, or three where amax is to be found first."""
    x, q_NE = as_rows(x_NE), x_NE.new_empty(x_NE.shape, dtype=dtype)
    scale, own = (x_NE.new_empty((), dtype=torch.float32) for _ in range(2))
    rows, size = x.shape
    if x.numel() == 0:
        own.zero_()
        return q_NE, make_scale(own if amax is None else amax, dtype, power_of_two), own
    piece, unit = min(PIECE, next_power_of_2(size)), alignment(size, x)
    programs = rows * cdiv(size, piece)
    stride, warps = x.stride(0) // unit, warps_for_bytes(piece, x.device)
    partial = x.new_empty(programs, dtype=torch.float32)
    if amax is None:
        _amax[(programs,)](x, partial, stride, N=size, PIECE=piece, ALIGNMENT=unit, num_warps=warps)
        _largest[(1,)](partial, own, programs, BLOCK=1024, num_warps=4)
    _quantise_kernel[(programs,)](
        x, own if amax is None else amax, q_NE, scale, partial, stride, N=size, PIECE=piece, ALIGNMENT=unit,
        M=torch.finfo(dtype).max, LEAST=LEAST_SCALE, POWER_OF_TWO=power_of_two, FINDS=amax is not None, num_warps=warps,
    )  # fmt: skip
    if amax is not None:
        _largest[(1,)](partial, own, programs, BLOCK=1024, num_warps=4)
    return q_NE, scale, own


def quantise_both_triton(
    x_TE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`fp8_quantise_both` by its kernels: as many launches as `quantise_triton`."""
    x = as_rows(x_TE)
    rows, size = x.shape
    q_TE, q_ET = x.new_empty(rows, size, dtype=dtype), x.new_empty(size, rows, dtype=dtype)
    scale, own = (x.new_empty((), dtype=torch.float32) for _ in range(2))
    if x.numel() == 0:
        own.zero_()
        return q_TE, q_ET, make_scale(own if amax is None else amax, dtype, power_of_two), own
    unit, tiles = alignment(size, x), cdiv(rows, TILE) * cdiv(size, TILE)
    stride = x.stride(0) // unit
    if amax is None:
        piece = min(PIECE, next_power_of_2(size))
        pieces = x.new_empty(rows * cdiv(size, piece), dtype=torch.float32)
        warps = warps_for_bytes(piece, x.device)
        _amax[(len(pieces),)](x, pieces, stride, N=size, PIECE=piece, ALIGNMENT=unit, num_warps=warps)
        _largest[(1,)](pieces, own, len(pieces), BLOCK=1024, num_warps=4)
    partial = x.new_empty(tiles, dtype=torch.float32)
    _quantise_both_kernel[(tiles,)](
        x, own if amax is None else amax, q_TE, q_ET, scale, partial, stride, rows, N=size, TILE=TILE, ALIGNMENT=unit,
        M=torch.finfo(dtype).max, LEAST=LEAST_SCALE, POWER_OF_TWO=power_of_two, FINDS=amax is not None,
        num_warps=warps_for_bytes(TILE * TILE, x.device),
    )  # fmt: skip
    if amax is not None:
        _largest[(1,)](partial, own, tiles, BLOCK=1024, num_warps=4)
    return q_TE, q_ET, scale, own


def quantise_rows_triton(x_NE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_quantise_rows` by its kernel; scales: (ceil(E / 128), T)."""
    x, q_NE = as_rows(x_NE), x_NE.new_empty(x_NE.shape, dtype=dtype)
    scales_BT = scales_of_rows(x_NE)
    _launch_blocks(x, q_NE, scales_BT, ROWS, power_of_two, is_tile=False)
    return q_NE, scales_BT


def quantise_tiles_triton(weight_FE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_quantise_tiles` by its kernel."""
    weight, q_FE = as_rows(weight_FE), weight_FE.new_empty(weight_FE.shape, dtype=dtype)
    scales = weight.new_empty(*(cdiv(size, BLOCK) for size in weight.shape), dtype=torch.float32)
    _launch_blocks(weight, q_FE, scales, BLOCK, power_of_two, is_tile=True)
    return q_FE, scales


def _launch_blocks(x: Tensor, q: Tensor, scales: Tensor, taken: int, power_of_two: bool, is_tile: bool) -> None:
    rows, size = x.shape
    if x.numel() == 0:
        return
    unit = alignment(size, x)
    _quantise_blocks[(cdiv(rows, taken) * cdiv(size, BLOCK),)](
        x, q, scales, x.stride(0) // unit, rows, N=size, ROWS=taken, BLOCK=BLOCK, ALIGNMENT=unit,
        M=torch.finfo(q.dtype).max, LEAST=LEAST_SCALE, POWER_OF_TWO=power_of_two, IS_TILE=is_tile,
        num_warps=warps_for_bytes(taken * BLOCK, x.device),
    )  # fmt: skip


# The operators


def _fake(x_NE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, ...]:
    scale, own = (x_NE.new_empty((), dtype=torch.float32) for _ in range(2))
    return x_NE.new_empty(x_NE.shape, dtype=dtype), scale, own


def _fake_both(x_TE: Tensor, amax: Tensor | None, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, ...]:
    q_TE, scale, own = _fake(x_TE, amax, dtype, power_of_two)
    return q_TE, x_TE.new_empty(x_TE.shape[1], x_TE.shape[0], dtype=dtype), scale, own


def _fake_rows(x_NE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    return x_NE.new_empty(x_NE.shape, dtype=dtype), scales_of_rows(x_NE)


def _fake_tiles(weight_FE: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    scales = weight_FE.new_empty(*(cdiv(size, BLOCK) for size in weight_FE.shape), dtype=torch.float32)
    return weight_FE.new_empty(weight_FE.shape, dtype=dtype), scales


_quantise = register(
    "fp8_quantise(Tensor x, Tensor? amax, ScalarType dtype, bool power_of_two) -> (Tensor, Tensor, Tensor)",
    reference=quantise_reference,
    triton=quantise_triton,
    fake=_fake,
)
_quantise_both = register(
    "fp8_quantise_both(Tensor x, Tensor? amax, ScalarType dtype, bool power_of_two)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    reference=quantise_both_reference,
    triton=quantise_both_triton,
    fake=_fake_both,
)
_quantise_rows = register(
    "fp8_quantise_rows(Tensor x, ScalarType dtype, bool power_of_two) -> (Tensor, Tensor)",
    reference=quantise_rows_reference,
    triton=quantise_rows_triton,
    fake=_fake_rows,
)
_quantise_tiles = register(
    "fp8_quantise_tiles(Tensor weight, ScalarType dtype, bool power_of_two) -> (Tensor, Tensor)",
    reference=quantise_tiles_reference,
    triton=quantise_tiles_triton,
    fake=_fake_tiles,
)
