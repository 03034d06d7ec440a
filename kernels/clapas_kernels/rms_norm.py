"""RMSNorm, alone and after the residual addition (Zhang & Sennrich, 2019, arXiv:1910.07467).

    y = x / sqrt(mean(x^2) + eps) * weight                    over the last dimension, E
    s = x + residual,  y as above from s                      `add_rms_norm`, which returns (y, s)

With r = 1 / sqrt(mean(x^2) + eps), n = x r and g = dy * weight:

    dx = r (g - n mean(g n)),   plus ds in `add_rms_norm`;    dweight = sum of dy n over the rows

All in fp32, or fp64 for fp64, and rounded once. In `add_rms_norm`, y comes from the sum before it is rounded to s: y
has the error of one rounding. Nothing but x (or s) and weight is saved: a row stands in registers in the backward pass,
so r is computed again for nothing.

Forward: a program for each row. Backward: one pass. About two programs for each multiprocessor take the rows in turn,
each keeps the sum of its dy n in registers and stores it once; a second, small kernel adds those sums in a fixed order.
No atomics, so two runs on the same accelerator are bit-equal. The next row is loaded while one is computed
(`num_stages=2`: cp.async on NVIDIA).

Traffic, bf16, T rows, P programs, in bytes: forward 2 TE + 2 E + 2 TE. Backward reads dy and x, writes dx: 6 TE; reads
weight, writes dweight: 4 E; partial sums, written and read: 8 PE. At T = 16,384 and P = 264 (H100) the partial sums are
2.1 % of the minimum 6 TE + 4 E; they pass 5 % below about 27 rows a program.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.dispatch import forced, register, runs_triton
from clapas_kernels.language import jit, next_power_of_2, tl
from clapas_kernels.rows import alignment, as_rows, load_row, store_row, sum_rows, warps_for, wide_dtype
from clapas_kernels.target import target_of

LARGEST = 8_192
"""Of E in the kernels: a row, its gradient and a sum of gradients must fit a program's registers without a spill."""
PROGRAMS_PER_MULTIPROCESSOR = 2


def rms_norm(x_NE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in the dtype of x.

    x_NE: (..., E), any strides. weight_E: (E,). The Triton kernels take E up to `LARGEST`; beyond, the reference runs,
    or ValueError is raised where `use` asks for Triton.
    """
    if _takes_triton(x_NE):
        return _rms_norm(x_NE, weight_E, eps)
    if not torch.is_grad_enabled():  # an autograd function costs more than what it computes of one token
        return normalise(x_NE, weight_E, eps)[0]
    return _Reference.apply(x_NE, weight_E, eps)  # pyright: ignore[reportReturnType] autograd.Function is untyped


def add_rms_norm(x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(rms_norm(x + residual), x + residual), in the dtype of x. Arguments as `rms_norm`; residual is like x."""
    if _takes_triton(x_NE):
        return _add_rms_norm(x_NE, residual_NE, weight_E, eps)
    if not torch.is_grad_enabled():
        return _added(x_NE, residual_NE, weight_E, eps)[:2]
    return _AddReference.apply(x_NE, residual_NE, weight_E, eps)  # pyright: ignore[reportReturnType] untyped


def _takes_triton(x_NE: Tensor) -> bool:
    return runs_triton(x_NE) and (x_NE.shape[-1] <= LARGEST or forced() == "triton")


# The reference


def _wide(x: Tensor) -> Tensor:
    return x.to(wide_dtype(x.dtype))


def normalise(x_NE: Tensor, weight_E: Tensor, eps: float, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """y in `dtype`, by default that of x, and r, (..., 1)."""
    wide_NE = _wide(x_NE)
    scale_N1 = torch.rsqrt(wide_NE.square().mean(-1, keepdim=True) + eps)
    return (wide_NE * scale_N1).mul_(weight_E).to(dtype or x_NE.dtype), scale_N1


def _added(x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """y, s and r of `add_rms_norm`."""
    wide_NE = _wide(x_NE) + residual_NE
    y_NE, scale_N1 = normalise(wide_NE, weight_E, eps, x_NE.dtype)
    return y_NE, wide_NE.to(x_NE.dtype), scale_N1


def norm_gradients(
    grad_NE: Tensor,
    x_NE: Tensor,
    weight_E: Tensor,
    scale_N1: Tensor,
    grad_sum_NE: Tensor | None = None,
    wants_weight: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """dx and dweight, which is None where it is not wanted; scale_N1: r. See the module."""
    normed_NE, wide_grad_NE = _wide(x_NE) * scale_N1, _wide(grad_NE)
    product_NE = wide_grad_NE * normed_NE
    mean_N1 = product_NE @ (_wide(weight_E) / len(weight_E))[:, None]
    grad_x_NE = wide_grad_NE * weight_E
    # not `addcmul_`, which the compiler splits in two: that rounds once more
    torch.addcmul(grad_x_NE, normed_NE, mean_N1, value=-1, out=grad_x_NE)
    grad_x_NE *= scale_N1
    if grad_sum_NE is not None:
        grad_x_NE += grad_sum_NE
    grad_x_NE = grad_x_NE.to(x_NE.dtype)
    if not wants_weight:
        return grad_x_NE, None
    return grad_x_NE, product_NE.reshape(-1, len(weight_E)).sum(0).to(weight_E.dtype)


class _Reference(torch.autograd.Function):
    """By hand because autograd would hold the normalised x beside x, in fp32; it is one product to make again."""

    @staticmethod
    def forward(ctx, x_NE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        y_NE, scale_N1 = normalise(x_NE, weight_E, eps)
        ctx.save_for_backward(x_NE, weight_E, scale_N1)
        return y_NE

    @staticmethod
    def backward(ctx, grad_NE: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return *norm_gradients(grad_NE, *ctx.saved_tensors, wants_weight=ctx.needs_input_grad[1]), None


class _AddReference(torch.autograd.Function):
    """`_Reference` with the addition before it. The sum is saved, which the next addition needs anyway."""

    @staticmethod
    def forward(ctx, x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        y_NE, sum_NE, scale_N1 = _added(x_NE, residual_NE, weight_E, eps)
        ctx.save_for_backward(sum_NE, weight_E, scale_N1)
        ctx.set_materialize_grads(False)
        return y_NE, sum_NE

    @staticmethod
    def backward(ctx, grad_NE: Tensor | None, grad_sum_NE: Tensor | None):  # pyright: ignore[reportIncompatibleMethodOverride]
        if grad_NE is None:
            return grad_sum_NE, grad_sum_NE, None, None
        grad_x_NE, grad_weight_E = norm_gradients(
            grad_NE, *ctx.saved_tensors, grad_sum_NE=grad_sum_NE, wants_weight=ctx.needs_input_grad[2]
        )
        return grad_x_NE, grad_x_NE, grad_weight_E, None


# The kernels


@jit
def _forward(
    X, RESIDUAL, WEIGHT, Y, SUM, x_stride, residual_stride, eps,
    N: tl.constexpr, BLOCK: tl.constexpr, ALIGNMENT: tl.constexpr, ADDS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = load_row(X + row * (x_stride * ALIGNMENT), columns, N, BLOCK)
    if ADDS:
        x += load_row(RESIDUAL + row * (residual_stride * ALIGNMENT), columns, N, BLOCK)
        store_row(SUM + row * N, columns, x, N, BLOCK)
    scale = tl.rsqrt(tl.sum(x * x, 0) / N + eps)
    store_row(Y + row * N, columns, x * scale * load_row(WEIGHT, columns, N, BLOCK), N, BLOCK)


@jit
def _backward(
    GRAD, GRAD_SUM, X, WEIGHT, GRAD_X, PARTIAL, grad_stride, grad_sum_stride, x_stride, rows, eps,
    N: tl.constexpr, BLOCK: tl.constexpr, ALIGNMENT: tl.constexpr, ADDS: tl.constexpr,
):  # fmt: skip
    program, programs = tl.program_id(0), tl.num_programs(0)
    columns = tl.arange(0, BLOCK)
    weight = load_row(WEIGHT, columns, N, BLOCK)
    grad_weight = tl.zeros_like(weight)
    for taken in tl.range(program, rows, programs, num_stages=2):  # pyright: ignore[reportGeneralTypeIssues]
        row = taken.to(tl.int64)
        x = load_row(X + row * (x_stride * ALIGNMENT), columns, N, BLOCK)
        grad = load_row(GRAD + row * (grad_stride * ALIGNMENT), columns, N, BLOCK)
        scale = tl.rsqrt(tl.sum(x * x, 0) / N + eps)
        normed = x * scale
        grad_weight += grad * normed
        grad *= weight
        grad_x = (grad - normed * (tl.sum(grad * normed, 0) / N)) * scale
        if ADDS:
            grad_x += load_row(GRAD_SUM + row * (grad_sum_stride * ALIGNMENT), columns, N, BLOCK)
        store_row(GRAD_X + row * N, columns, grad_x, N, BLOCK)
    store_row(PARTIAL + program.to(tl.int64) * N, columns, grad_weight, N, BLOCK)


def block_of(size: int) -> int:
    """Lanes for a row; ValueError beyond `LARGEST`."""
    if size > LARGEST:
        way_out = 'under clapas_kernels.use("reference") any size runs'
        raise ValueError(f"rms_norm: found rows of {size} elements; the kernels take {LARGEST} at most; {way_out}")
    return next_power_of_2(size)


def forward_triton(x_NE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """`rms_norm` by its kernel."""
    y_NE, x = x_NE.new_empty(x_NE.shape), as_rows(x_NE)
    _launch_forward(x, x, weight_E, y_NE, y_NE, eps, adds=False)
    return y_NE


def add_forward_triton(x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`add_rms_norm` by its kernel."""
    y_NE, sum_NE = x_NE.new_empty(x_NE.shape), x_NE.new_empty(x_NE.shape)
    _launch_forward(as_rows(x_NE), as_rows(residual_NE), weight_E, y_NE, sum_NE, eps, adds=True)
    return y_NE, sum_NE


def _launch_forward(
    x: Tensor, residual: Tensor, weight_E: Tensor, y_NE: Tensor, sum_NE: Tensor, eps: float, adds: bool
) -> None:
    rows, size = x.shape
    if rows == 0:
        return
    block, unit = block_of(size), alignment(size, x, residual)
    _forward[(rows,)](
        x, residual, weight_E.contiguous(), y_NE, sum_NE, x.stride(0) // unit, residual.stride(0) // unit, eps,
        N=size, BLOCK=block, ALIGNMENT=unit, ADDS=adds, num_warps=warps_for(block, x),
    )  # fmt: skip


def backward_triton(
    grad_NE: Tensor, x_NE: Tensor, weight_E: Tensor, eps: float, grad_sum_NE: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """dx and dweight by the kernels; x_NE: the sum in `add_rms_norm`, grad_sum_NE: its gradient."""
    grad, x, grad_x_NE = as_rows(grad_NE), as_rows(x_NE), x_NE.new_empty(x_NE.shape)
    rows, size = x.shape
    if rows == 0:
        return grad_x_NE, torch.zeros_like(weight_E)
    grad_sum = grad if grad_sum_NE is None else as_rows(grad_sum_NE)
    block, unit = block_of(size), alignment(size, grad, grad_sum, x)
    programs = min(rows, PROGRAMS_PER_MULTIPROCESSOR * target_of(x.device).multiprocessors)
    partial_PE = x.new_empty(programs, size, dtype=wide_dtype(x.dtype))
    _backward[(programs,)](
        grad, grad_sum, x, weight_E.contiguous(), grad_x_NE, partial_PE,
        grad.stride(0) // unit, grad_sum.stride(0) // unit, x.stride(0) // unit, rows, eps,
        N=size, BLOCK=block, ALIGNMENT=unit, ADDS=grad_sum_NE is not None, num_warps=warps_for(block, x),
    )  # fmt: skip
    return grad_x_NE, sum_rows(partial_PE, weight_E.dtype)


# The operators


def _forward_reference(x_NE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    return normalise(x_NE, weight_E, eps)[0].contiguous()


def _add_forward_reference(x_NE: Tensor, residual_NE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    wide_NE = _wide(x_NE) + residual_NE
    return normalise(wide_NE, weight_E, eps, x_NE.dtype)[0].contiguous(), wide_NE.to(x_NE.dtype).contiguous()


def _backward_reference(
    grad_NE: Tensor, x_NE: Tensor, weight_E: Tensor, eps: float, grad_sum_NE: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    _, scale_N1 = normalise(x_NE, weight_E, eps)
    grad_x_NE, grad_weight_E = norm_gradients(grad_NE, x_NE, weight_E, scale_N1, grad_sum_NE)
    assert grad_weight_E is not None
    return grad_x_NE.contiguous(), grad_weight_E


def _setup_context(ctx, inputs, output) -> None:
    x_NE, weight_E, ctx.eps = inputs
    ctx.save_for_backward(x_NE, weight_E)


def _add_setup_context(ctx, inputs, output) -> None:
    _, _, weight_E, ctx.eps = inputs
    ctx.save_for_backward(output[1], weight_E)
    ctx.set_materialize_grads(False)


def _autograd(ctx, grad_NE: Tensor):
    return *_rms_norm_backward(grad_NE, *ctx.saved_tensors, ctx.eps, None), None


def _add_autograd(ctx, grad_NE: Tensor | None, grad_sum_NE: Tensor | None):
    if grad_NE is None:
        return grad_sum_NE, grad_sum_NE, None, None
    grad_x_NE, grad_weight_E = _rms_norm_backward(grad_NE, *ctx.saved_tensors, ctx.eps, grad_sum_NE)
    return grad_x_NE, grad_x_NE, grad_weight_E, None


_rms_norm_backward = register(
    "rms_norm_backward(Tensor grad, Tensor x, Tensor weight, float eps, Tensor? grad_sum) -> (Tensor, Tensor)",
    reference=_backward_reference,
    triton=backward_triton,
    fake=lambda grad, x, weight, eps, grad_sum: (x.new_empty(x.shape), weight.new_empty(weight.shape)),
)
_rms_norm = register(
    "rms_norm(Tensor x, Tensor weight, float eps) -> Tensor",
    reference=_forward_reference,
    triton=forward_triton,
    fake=lambda x, weight, eps: x.new_empty(x.shape),
    backward=_autograd,
    setup_context=_setup_context,
)
_add_rms_norm = register(
    "add_rms_norm(Tensor x, Tensor residual, Tensor weight, float eps) -> (Tensor, Tensor)",
    reference=_add_forward_reference,
    triton=add_forward_triton,
    fake=lambda x, residual, weight, eps: (x.new_empty(x.shape), x.new_empty(x.shape)),
    backward=_add_autograd,
    setup_context=_add_setup_context,
)
