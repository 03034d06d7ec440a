"""`add_rms_norm` and `swiglu` whose result is quantised to fp8 before it is stored, with a scale for each 128 of a row.

The same maths as `rms_norm.py`, `swiglu.py` and, for q and s, `fp8.py`. The result is quantised from fp32: it is not
rounded to the dtype of x in between, so its error is that of `fp8_quantise_rows`,

    |y - q s| <= max(r |y|, h s) + 2^-22 |y|,

and that of y in fp32. One launch, which writes a byte a number for bf16's two, and spares the launch that would read
them again: bf16, T x E, in bytes, `add_rms_norm` reads 4 TE and writes 3 TE + TE / 32, for 11 TE + TE / 32 in two
launches; `swiglu` reads 4 TF and writes TF + TF / 32, for 9 TF + TF / 32.

These are forward passes alone, for an autograd function that multiplies what they give. Its backward pass is that of
`add_rms_norm` and `swiglu`, of the same saved tensors: rounding counts as the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels.dispatch import explained_by, register, runs_triton
from clapas_kernels.fp8 import (
    BLOCK,
    LEAST_SCALE,
    checked_format,
    explain_refusal,
    in_order_of_rows,
    magnitude,
    quantise_rows_reference,
    scale_of,
    scales_of_rows,
    to_fp8,
    warps_for_bytes,
)
from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rms_norm import block_of, normalise
from clapas_kernels.rows import alignment, as_rows, load_row, piece_of_row, store_row, wide_dtype
from clapas_kernels.swiglu import sigmoid

PIECE = 2048
"""Elements of a row of `swiglu` that a program takes."""


def fp8_add_rms_norm(
    x_NE: Tensor,
    residual_NE: Tensor,
    weight_E: Tensor,
    eps: float,
    dtype: torch.dtype | None = None,
    power_of_two: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """(q, s, x + residual): `fp8_quantise_rows` of `add_rms_norm`'s first result, and its second.

    s: (..., ceil(E / 128)). Other arguments, and errors, as the two. Has no gradient.
    """
    with torch.no_grad():
        dtype = checked_format(x_NE, dtype)
        run = _add_rms_norm if runs_triton(x_NE) else add_rms_norm_reference
        q_NE, scales_BT, sum_NE = run(x_NE, residual_NE, weight_E, eps, dtype, power_of_two)
        return q_NE, in_order_of_rows(scales_BT, x_NE), sum_NE


def fp8_swiglu(
    gate_NF: Tensor, up_NF: Tensor, dtype: torch.dtype | None = None, power_of_two: bool = False
) -> tuple[Tensor, Tensor]:
    """(q, s): `fp8_quantise_rows` of `swiglu`. Has no gradient."""
    with torch.no_grad():
        dtype = checked_format(gate_NF, dtype)
        run = _swiglu if runs_triton(gate_NF) else swiglu_reference
        q_NF, scales_BT = run(gate_NF, up_NF, dtype, power_of_two)
        return q_NF, in_order_of_rows(scales_BT, gate_NF)


explained_by("fp8_add_rms_norm", "fp8_swiglu")(explain_refusal)


# The reference


def add_rms_norm_reference(
    x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`fp8_add_rms_norm` in PyTorch; scales: (ceil(E / 128), T)."""
    wide_NE = x_NE.to(wide_dtype(x_NE.dtype)) + residual_NE
    y_NE = normalise(wide_NE, weight_E, eps)[0]
    return *quantise_rows_reference(y_NE, dtype, power_of_two), wide_NE.to(x_NE.dtype).contiguous()


def swiglu_reference(gate_NF: Tensor, up_NF: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_swiglu` in PyTorch."""
    wide = wide_dtype(gate_NF.dtype)
    return quantise_rows_reference(F.silu(gate_NF.to(wide)) * up_NF.to(wide), dtype, power_of_two)


# The kernels


@jit
def store_quantised(
    Q, SCALES, rows, columns, y, N: tl.constexpr, PIECE: tl.constexpr, BLOCK: tl.constexpr, M: tl.constexpr,
    LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr,
):  # fmt: skip
    """A piece of a row of y; Q and SCALES: where the row's begin, its scales `rows` apart."""
    y = tl.reshape(y.to(tl.float32), (PIECE // BLOCK, BLOCK))
    scale = scale_of(tl.max(magnitude(y), 1), M, LEAST, POWER_OF_TWO)
    q = tl.reshape(to_fp8(y, tl.div_rn(1.0, scale)[:, None], M, Q.dtype.element_ty), (PIECE,))
    if N % PIECE == 0:
        tl.store(Q + columns, q)
    else:
        tl.store(Q + columns, q, mask=columns < N)
    blocks = tl.min(columns, 0) // BLOCK + tl.arange(0, PIECE // BLOCK)
    tl.store(SCALES + blocks.to(tl.int64) * rows, scale, mask=blocks * BLOCK < N)


@jit
def _add_rms_norm_kernel(
    X, RESIDUAL, WEIGHT, Q, SCALES, SUM, x_stride, residual_stride, rows, eps, N: tl.constexpr, PIECE: tl.constexpr,
    ALIGNMENT: tl.constexpr, BLOCK: tl.constexpr, M: tl.constexpr, LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, PIECE)
    x = load_row(X + row * (x_stride * ALIGNMENT), columns, N, PIECE)
    x += load_row(RESIDUAL + row * (residual_stride * ALIGNMENT), columns, N, PIECE)
    store_row(SUM + row * N, columns, x, N, PIECE)
    scale = tl.rsqrt(tl.sum(x * x, 0) / N + eps)
    y = x * scale * load_row(WEIGHT, columns, N, PIECE)
    store_quantised(Q + row * N, SCALES + row, rows, columns, y, N, PIECE, BLOCK, M, LEAST, POWER_OF_TWO)


@jit
def _swiglu_kernel(
    GATE, UP, Q, SCALES, gate_stride, up_stride, rows, N: tl.constexpr, PIECE: tl.constexpr, ALIGNMENT: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, LEAST: tl.constexpr, POWER_OF_TWO: tl.constexpr,
):  # fmt: skip
    row, columns = piece_of_row(N, PIECE)
    gate = load_row(GATE + row * (gate_stride * ALIGNMENT), columns, N, PIECE)
    up = load_row(UP + row * (up_stride * ALIGNMENT), columns, N, PIECE)
    y = gate * sigmoid(gate) * up
    store_quantised(Q + row * N, SCALES + row, rows, columns, y, N, PIECE, BLOCK, M, LEAST, POWER_OF_TWO)


def add_rms_norm_triton(
    x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float, dtype: torch.dtype, power_of_two: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`fp8_add_rms_norm` by its kernel; scales: (ceil(E / 128), T)."""
    x, residual, sum_NE = as_rows(x_NE), as_rows(residual_NE), x_NE.new_empty(x_NE.shape)
    q_NE, scales_BT = x_NE.new_empty(x_NE.shape, dtype=dtype), scales_of_rows(x_NE)
    rows, size = x.shape
    if x.numel():
        piece, unit = max(block_of(size), BLOCK), alignment(size, x, residual)
        _add_rms_norm_kernel[(rows,)](
            x, residual, weight_E.contiguous(), q_NE, scales_BT, sum_NE, x.stride(0) // unit,
            residual.stride(0) // unit, rows, eps, N=size, PIECE=piece, ALIGNMENT=unit, BLOCK=BLOCK,
            M=torch.finfo(dtype).max, LEAST=LEAST_SCALE, POWER_OF_TWO=power_of_two,
            num_warps=warps_for_bytes(piece, x.device),
        )  # fmt: skip
    return q_NE, scales_BT, sum_NE


def swiglu_triton(gate_NF: Tensor, up_NF: Tensor, dtype: torch.dtype, power_of_two: bool) -> tuple[Tensor, Tensor]:
    """`fp8_swiglu` by its kernel."""
    gate, up = as_rows(gate_NF), as_rows(up_NF)
    q_NF, scales_BT = gate_NF.new_empty(gate_NF.shape, dtype=dtype), scales_of_rows(gate_NF)
    rows, size = gate.shape
    if gate.numel():
        piece, unit = max(min(PIECE, next_power_of_2(size)), BLOCK), alignment(size, gate, up)
        _swiglu_kernel[(rows * cdiv(size, piece),)](
            gate, up, q_NF, scales_BT, gate.stride(0) // unit, up.stride(0) // unit, rows, N=size, PIECE=piece,
            ALIGNMENT=unit, BLOCK=BLOCK, M=torch.finfo(dtype).max, LEAST=LEAST_SCALE, POWER_OF_TWO=power_of_two,
            num_warps=warps_for_bytes(piece, gate.device),
        )  # fmt: skip
    return q_NF, scales_BT


# The operators

_add_rms_norm = register(
    "fp8_add_rms_norm(Tensor x, Tensor residual, Tensor weight, float eps, ScalarType dtype, bool power_of_two)"
    " -> (Tensor, Tensor, Tensor)",
    reference=add_rms_norm_reference,
    triton=add_rms_norm_triton,
    fake=lambda x, residual, weight, eps, dtype, power_of_two: (
        x.new_empty(x.shape, dtype=dtype), scales_of_rows(x), x.new_empty(x.shape)
    ),
)  # fmt: skip
_swiglu = register(
    "fp8_swiglu(Tensor gate, Tensor up, ScalarType dtype, bool power_of_two) -> (Tensor, Tensor)",
    reference=swiglu_reference,
    triton=swiglu_triton,
    fake=lambda gate, up, dtype, power_of_two: (gate.new_empty(gate.shape, dtype=dtype), scales_of_rows(gate)),
)
