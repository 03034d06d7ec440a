"""Cross-entropy of logits, with the z-loss that keeps their normaliser near 1 (PaLM, 2022, arXiv:2204.02311).

    loss = lse - x_target + z lse^2,   lse = log sum exp x      over the vocabulary, V; 0 where the target is ignored
    dx_i = g ((1 + 2 z lse) exp(x_i - lse) - [i = target])      g: the loss's gradient; 0 where the target is ignored

All in fp32, or fp64 for fp64; the gradient is rounded once. Forward reads the logits once, with a running maximum;
backward reads them once more and writes their gradient, with whatever gradient comes from above: three passes over
(N, V). Where the logits are made by a projection, `linear_cross_entropy` never holds them all.

Rows that do not begin at multiples of 16 bytes (V = 50,257) are split: the accesses of what lies between the first and
the last such place are 16 bytes wide, the few logits before and behind have one narrow access. The gradient's rows are
laid out with the same distance to those places, so the same split serves both. No value is read back to the host.

Traffic, bf16, N rows, in bytes: forward 2 NV + 16 N; backward 4 NV + 16 N. At N = 16,384, V = 32,000: 1.05 GB
and 2.10 GB.
"""

# pyright: reportPossiblyUnboundVariable=false
# a kernel's branches on constants are taken by its compiler: what one binds, the others under it find
from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels.dispatch import register, runs_triton
from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import WIDEST_ACCESS, warps_for, wide, wide_dtype

IGNORED = -100
"""A target that is not one. PyTorch's and Hugging Face's convention."""

PIECE = 4_096
"""Logits of a row that are looked at together."""


def cross_entropy(
    logits_NV: Tensor,
    targets_N: Tensor,
    z_loss: float = 0.0,
    ignore_index: int = IGNORED,
    reduction: Literal["sum", "none"] = "sum",
) -> Tensor:
    """The losses in nats, fp32 (fp64 for fp64): their sum, a scalar, or each, of the targets' shape.

    logits_NV: (..., V). targets_N: int64 of the leading shape, in range(V) or `ignore_index`; what else it may hold is
    an error in the reference and a loss of NaN from the kernels. Where all are ignored loss and gradients are 0.
    z_loss: the coefficient z of lse^2.
    """
    logits_RV, targets_R = _as_matrix(logits_NV), targets_N.reshape(-1)
    if runs_triton(logits_NV):
        losses_R, _ = _cross_entropy(logits_RV, targets_R, z_loss, ignore_index)
        return losses_R.sum() if reduction == "sum" else losses_R.view(targets_N.shape)
    losses = _reference(logits_RV, targets_R, z_loss, ignore_index, reduction)
    return losses if reduction == "sum" else losses.view(targets_N.shape)


def _as_matrix(logits_NV: Tensor) -> Tensor:
    rows = logits_NV.reshape(-1, logits_NV.shape[-1])
    return rows if rows.stride(-1) == 1 else rows.contiguous()


# The reference


def _reference(logits_NV: Tensor, targets_N: Tensor, z_loss: float, ignore_index: int, reduction: str) -> Tensor:
    wide_NV = logits_NV.to(wide_dtype(logits_NV.dtype))
    losses = F.cross_entropy(wide_NV, targets_N, ignore_index=ignore_index, reduction=reduction)
    if not z_loss:
        return losses
    squares_N = wide_NV.logsumexp(-1).square() * (targets_N != ignore_index)
    return losses + z_loss * (squares_N.sum() if reduction == "sum" else squares_N)


def _forward_reference(logits_NV: Tensor, targets_N: Tensor, z_loss: float, ignore_index: int) -> tuple[Tensor, Tensor]:
    losses_N = _reference(logits_NV, targets_N, z_loss, ignore_index, "none")
    return losses_N, logits_NV.to(losses_N.dtype).logsumexp(-1)


def _backward_reference(
    grad_N: Tensor, logits_NV: Tensor, targets_N: Tensor, normaliser_N: Tensor, z_loss: float, ignore_index: int
) -> Tensor:
    is_target_N = targets_N != ignore_index
    grad_NV = (logits_NV.to(normaliser_N.dtype) - normaliser_N[:, None]).exp_()
    grad_NV *= (1 + 2 * z_loss * normaliser_N)[:, None]
    column_N1 = targets_N.clamp(min=0)[:, None]
    grad_NV.scatter_add_(1, column_N1, torch.full_like(grad_NV[:, :1], -1.0))
    grad_NV *= (grad_N * is_target_N)[:, None]
    return _empty_gradient(logits_NV).copy_(grad_NV.masked_fill_(~is_target_N[:, None], 0.0))


# The kernels


@jit
def _split(row, stride, V: tl.constexpr, UNIT: tl.constexpr, IS_ALIGNED: tl.constexpr):
    """Where a row begins, how many logits lie before the first place of a wide access, and how many have one."""
    begin = row * stride
    before = 0 if IS_ALIGNED else tl.minimum((UNIT - begin % UNIT) % UNIT, V).to(tl.int32)
    return begin, before, (V - before) // UNIT * UNIT


@jit
def _edges(before, body, V: tl.constexpr, UNIT: tl.constexpr):
    """The columns before and behind the body, 2 UNIT lanes, and which of them there are."""
    lanes = tl.arange(0, 2 * UNIT)
    columns = tl.where(lanes < UNIT, lanes, before + body + lanes - UNIT)
    return columns, tl.where(lanes < UNIT, lanes < before, columns < V)


@jit
def _normaliser(
    X, begin, before, body, V: tl.constexpr, PIECE: tl.constexpr, UNIT: tl.constexpr, HAS_EDGES: tl.constexpr
):  # fmt: skip
    """log sum exp of a row, read once: the sum is held relative to the largest logit so far."""
    lanes = tl.arange(0, PIECE)
    first = tl.multiple_of(begin + before, UNIT)
    # before the first logit: the sum of none, relative to a number that is smaller than any
    largest = tl.full((), float("-inf"), tl.float64 if X.dtype.element_ty == tl.float64 else tl.float32)
    total = tl.zeros_like(largest)
    if HAS_EDGES:
        columns, is_there = _edges(before, body, V, UNIT)
        edge = wide(tl.load(X + begin + columns, mask=is_there, other=float("-inf")))
        largest = tl.max(edge, 0)
        total = tl.sum(tl.exp(edge - _finite(largest)), 0)
    for start in tl.range(0, body, PIECE, num_stages=2):  # pyright: ignore[reportGeneralTypeIssues]
        x = wide(tl.load(X + first + start + lanes, mask=start + lanes < body, other=float("-inf")))
        larger = tl.maximum(largest, tl.max(x, 0))
        reference = _finite(larger)
        total = total * tl.exp(largest - reference) + tl.sum(tl.exp(x - reference), 0)
        largest = larger
    return largest + tl.log(total)


@jit
def _finite(largest):
    """0 for -inf, which stands for no logit: -inf - -inf would be NaN."""
    return tl.where(largest == float("-inf"), 0.0, largest)


@jit
def _gradient(x, columns, target, normaliser, grad, z_loss):
    share = tl.exp(x - normaliser) * (1 + 2 * z_loss * normaliser)
    return (share - tl.where(columns == target, 1.0, 0.0)) * grad


@jit
def _loss(X, begin, target, normaliser, z_loss, V: tl.constexpr):
    """Of a target that is not ignored; NaN where it is none of the vocabulary."""
    logit = wide(tl.load(X + begin + target, mask=(target >= 0) & (target < V), other=float("nan")))
    return normaliser - logit + z_loss * normaliser * normaliser


@jit
def _forward(
    X, TARGETS, LOSSES, NORMALISERS, stride, ignored, z_loss,
    V: tl.constexpr, PIECE: tl.constexpr, UNIT: tl.constexpr, IS_ALIGNED: tl.constexpr, HAS_EDGES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(TARGETS + row)
    if target == ignored:
        tl.store(LOSSES + row, 0.0)
        tl.store(NORMALISERS + row, 0.0)
    else:
        begin, before, body = _split(row, stride * (UNIT if IS_ALIGNED else 1), V, UNIT, IS_ALIGNED)
        normaliser = _normaliser(X, begin, before, body, V, PIECE, UNIT, HAS_EDGES)
        tl.store(NORMALISERS + row, normaliser)
        tl.store(LOSSES + row, _loss(X, begin, target, normaliser, z_loss, V))


@jit
def _store_gradients(
    X, GRAD_X, begin, grad_begin, before, body, target, is_target, normaliser, grad, z_loss, start,
    V: tl.constexpr, PIECE: tl.constexpr, UNIT: tl.constexpr, HAS_EDGES: tl.constexpr,
):  # fmt: skip
    """Of a piece of a row's body, and with the first one of its edges. Nothing is read where the target is ignored,
    and grad is 0."""
    lanes = start + tl.arange(0, PIECE)
    first, grad_first = tl.multiple_of(begin + before, UNIT), tl.multiple_of(grad_begin + before, UNIT)
    x = wide(tl.load(X + first + lanes, mask=lanes < tl.where(is_target, body, 0), other=0.0))
    grad_x = _gradient(x, before + lanes, target, normaliser, grad, z_loss)
    tl.store(GRAD_X + grad_first + lanes, grad_x.to(GRAD_X.dtype.element_ty), mask=lanes < body)
    if HAS_EDGES:  # noqa: SIM102 the compiler knows this, the program the next
        if start == 0:
            columns, is_there = _edges(before, body, V, UNIT)
            edge = wide(tl.load(X + begin + columns, mask=is_there & (columns < tl.where(is_target, V, 0)), other=0.0))
            grad_edge = _gradient(edge, columns, target, normaliser, grad, z_loss)
            tl.store(GRAD_X + grad_begin + columns, grad_edge.to(GRAD_X.dtype.element_ty), mask=is_there)


@jit
def _backward(
    GRAD, X, TARGETS, NORMALISERS, GRAD_X, stride, grad_stride, ignored, z_loss,
    V: tl.constexpr, PIECE: tl.constexpr, UNIT: tl.constexpr, IS_ALIGNED: tl.constexpr, HAS_EDGES: tl.constexpr,
):  # fmt: skip
    pieces: tl.constexpr = (V + PIECE - 1) // PIECE
    row = (tl.program_id(0) // pieces).to(tl.int64)
    target = tl.load(TARGETS + row)
    is_target = target != ignored
    grad = tl.where(is_target, tl.load(GRAD + row), 0.0)
    begin, before, body = _split(row, stride * (UNIT if IS_ALIGNED else 1), V, UNIT, IS_ALIGNED)
    grad_begin = row * (grad_stride * (UNIT if IS_ALIGNED else 1))
    _store_gradients(
        X, GRAD_X, begin, grad_begin, before, body, target, is_target, tl.load(NORMALISERS + row), grad, z_loss,
        tl.program_id(0) % pieces * PIECE, V, PIECE, UNIT, HAS_EDGES,
    )  # fmt: skip


def _unit(logits_NV: Tensor) -> int:
    return WIDEST_ACCESS // logits_NV.element_size()


def _empty_gradient(logits_NV: Tensor) -> Tensor:
    """Rows with the logits' distance, modulo 16 bytes: V apart, or somewhat more."""
    rows, size = logits_NV.shape
    apart = size + (logits_NV.stride(0) - size) % _unit(logits_NV)
    return logits_NV.new_empty_strided((rows, size), (apart, 1))


def _begun_at_16_bytes(logits_NV: Tensor) -> Tensor:
    """The logits; or where the first lies at no multiple of 16 bytes, a copy with rows as `_empty_gradient`'s."""
    return logits_NV if logits_NV.data_ptr() % WIDEST_ACCESS == 0 else _empty_gradient(logits_NV).copy_(logits_NV)


def _layout(logits_NV: Tensor, *others: Tensor) -> tuple[dict[str, int | bool], list[int]]:
    """What the kernels are told of the rows, and the strides of these matrices."""
    unit = _unit(logits_NV)
    is_aligned = logits_NV.stride(0) % unit == 0
    size = logits_NV.shape[1]
    strides = [x.stride(0) // (unit if is_aligned else 1) for x in (logits_NV, *others)]
    return {"V": size, "UNIT": unit, "IS_ALIGNED": is_aligned, "HAS_EDGES": not is_aligned or size % unit != 0}, strides


def forward_triton(logits_NV: Tensor, targets_N: Tensor, z_loss: float, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Losses and normalisers (log sum exp), each (N,), by the kernel."""
    logits_NV = _begun_at_16_bytes(logits_NV)
    rows, size = logits_NV.shape
    losses_N, normalisers_N = (logits_NV.new_empty(rows, dtype=wide_dtype(logits_NV.dtype)) for _ in range(2))
    if rows:
        named, strides = _layout(logits_NV)
        piece = min(PIECE, next_power_of_2(size))
        _forward[(rows,)](
            logits_NV, targets_N.contiguous(), losses_N, normalisers_N, *strides, ignore_index, z_loss,
            PIECE=piece, num_warps=warps_for(piece, logits_NV), **named,
        )  # fmt: skip
    return losses_N, normalisers_N


def backward_triton(
    grad_N: Tensor, logits_NV: Tensor, targets_N: Tensor, normaliser_N: Tensor, z_loss: float, ignore_index: int
) -> Tensor:
    """The logits' gradient by the kernel."""
    grad_NV, logits_NV = _empty_gradient(logits_NV), _begun_at_16_bytes(logits_NV)
    rows, size = logits_NV.shape
    if rows:
        named, strides = _layout(logits_NV, grad_NV)
        piece = min(PIECE, next_power_of_2(size))
        _backward[(rows * cdiv(size, piece),)](
            grad_N.contiguous(), logits_NV, targets_N.contiguous(), normaliser_N, grad_NV, *strides,
            ignore_index, z_loss,
            PIECE=piece, num_warps=warps_for(piece, logits_NV), **named,
        )  # fmt: skip
    return grad_NV


# The operators


def _empty_losses(logits_NV: Tensor) -> Tensor:
    return logits_NV.new_empty(len(logits_NV), dtype=wide_dtype(logits_NV.dtype))


def _setup_context(ctx, inputs, output) -> None:
    logits_NV, targets_N, ctx.z_loss, ctx.ignore_index = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(logits_NV, targets_N, output[1])


def _autograd(ctx, grad_N: Tensor, _: Tensor):
    return _cross_entropy_backward(grad_N, *ctx.saved_tensors, ctx.z_loss, ctx.ignore_index), None, None, None


_OTHERS = "float z_loss, int ignore_index"
_cross_entropy_backward = register(
    f"cross_entropy_backward(Tensor grad, Tensor logits, Tensor targets, Tensor normaliser, {_OTHERS}) -> Tensor",
    reference=_backward_reference,
    triton=backward_triton,
    fake=lambda grad, logits, *_: _empty_gradient(logits),
)
_cross_entropy = register(
    f"cross_entropy(Tensor logits, Tensor targets, {_OTHERS}) -> (Tensor, Tensor)",
    reference=_forward_reference,
    triton=forward_triton,
    fake=lambda logits, *_: (_empty_losses(logits), _empty_losses(logits)),
    backward=_autograd,
    setup_context=_setup_context,
)
