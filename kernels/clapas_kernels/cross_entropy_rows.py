"""Cross-entropies of rows of logits, with the logits' gradient written in their place: what a chunk of them needs.

For a row x of V logits with target t, in nats:

    loss = log(sum exp x) - x[t];   objective = loss + z_loss (log sum exp x)^2
    d objective / dx = softmax(x) (1 + 2 z_loss log(sum exp x)) - (1 at t)

The second term of the objective, z-loss, keeps the normaliser near 1 (de Brébisson & Vincent, 2016, arXiv:1604.08859;
Chowdhery et al., 2022, PaLM). A row whose target is `IGNORED` has loss 0 and gradient 0. All in fp32, or fp64 for fp64;
the gradient is rounded once, to the logits' dtype.

Two kernels, a program for each row. Up to `LARGEST_AT_ONCE` logits stand in a program's registers: they are read once
and written once. Beyond, a row is passed through twice: each lane keeps the maximum and the sum of what it has seen
(Milakov & Gimelshein, 2018, arXiv:1805.02867), so that no lane waits for another before the end; then the row, 256 KB
at V = 128,256 and still in the L2 cache, is read again and its gradient written.

A vocabulary that is no multiple of 8 would cost accesses of one element. So rows are padded (`padded`), all of a row is
loaded and stored, and what lies beyond the vocabulary takes no part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import warps_for, wide, wide_dtype

IGNORED = -100
"""A target that is none: PyTorch's and Hugging Face's convention."""
ROW_UNIT = 128
"""Rows of logits begin at multiples of this many elements: a cache line at least, and what matrix products want."""
LARGEST_AT_ONCE = 32_768
"""Logits that a program's registers hold: 32 a lane of 1,024. Twice as many spill."""
PIECE = 4_096
"""Logits at a time in a row that is passed through twice: 16 bytes of bf16 a lane, 512 lanes."""


def padded(vocabulary: int) -> int:
    """The elements from one row of logits to the next."""
    return cdiv(vocabulary, ROW_UNIT) * ROW_UNIT


def losses_reference(
    logits_NV: Tensor, targets_N: Tensor, z_loss: float, wants_gradient: bool
) -> tuple[Tensor, Tensor]:
    """`losses_triton` in PyTorch. Raises IndexError or RuntimeError for a target outside the vocabulary, on a CPU."""
    is_target_N1 = (targets_N != IGNORED)[:, None]
    column_N1 = torch.where(is_target_N1, targets_N[:, None], 0)
    wide_NV = logits_NV.to(wide_dtype(logits_NV.dtype))
    largest_N1, chosen_N1 = wide_NV.amax(-1, keepdim=True), wide_NV.gather(1, column_N1)
    # in place, as a CPU's softmax may be: a quarter of the time of what stands here, and no second chunk
    share_NV = torch.softmax(wide_NV, -1, out=wide_NV if wide_NV.device.type == "cpu" else None)
    # log sum exp, from the largest logit and its share: exact, and quicker than logsumexp
    normaliser_N1 = (largest_N1 - share_NV.amax(-1, keepdim=True).log()) * is_target_N1
    if wants_gradient:
        gradient_NV = share_NV.mul_((1 + 2 * z_loss * normaliser_N1) * is_target_N1)
        logits_NV.copy_(gradient_NV.scatter_add_(1, column_N1, -is_target_N1.to(largest_N1.dtype)))
    return (normaliser_N1 - chosen_N1 * is_target_N1)[:, 0], normaliser_N1[:, 0]


def losses_triton(logits_NV: Tensor, targets_N: Tensor, z_loss: float, wants_gradient: bool) -> tuple[Tensor, Tensor]:
    """Each row's loss and log sum exp, (N,), 0 where the target is ignored; in fp32, or fp64 for fp64.

    logits_NV: rows `padded(V)` elements apart. With `wants_gradient` they, and what pads them, are overwritten by the
    gradient of the sum of the objectives; otherwise they hold nothing of use afterwards.
    targets_N: int64, contiguous. One outside the vocabulary that is not `IGNORED` makes its loss NaN: an accelerator
    cannot raise without being waited for.
    """
    rows, vocabulary = logits_NV.shape
    losses_N, normalisers_N = (logits_NV.new_empty(rows, dtype=wide_dtype(logits_NV.dtype)) for _ in range(2))
    if rows == 0:
        return losses_N, normalisers_N
    width = padded(vocabulary)
    whole_NP = logits_NV.as_strided((rows, width), (width, 1))
    arguments = whole_NP, targets_N, losses_N, normalisers_N, z_loss
    sizes = {"N": vocabulary, "WIDTH": width, "GRADIENT": wants_gradient, "IGNORED": IGNORED}
    if vocabulary <= LARGEST_AT_ONCE:
        block = next_power_of_2(width)
        _once[(rows,)](*arguments, **sizes, BLOCK=block, num_warps=warps_for(block, logits_NV))
    else:
        _twice[(rows,)](*arguments, **sizes, PIECE=PIECE, num_warps=warps_for(PIECE, logits_NV))
    return losses_N, normalisers_N


@jit
def _once(
    LOGITS, TARGETS, LOSSES, NORMALISERS, z_loss,
    N: tl.constexpr, WIDTH: tl.constexpr, GRADIENT: tl.constexpr, IGNORED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(TARGETS + row)
    columns = tl.arange(0, BLOCK)
    ROW = LOGITS + row * WIDTH
    if target == IGNORED:
        tl.store(LOSSES + row, 0.0)
        tl.store(NORMALISERS + row, 0.0)
        if GRADIENT:
            tl.store(ROW + columns, tl.zeros((BLOCK,), LOGITS.dtype.element_ty), mask=columns < WIDTH)
    else:
        chosen = wide(tl.load(ROW + target, mask=(target >= 0) & (target < N), other=float("nan")))
        x = load_logits(ROW, columns, N, WIDTH)
        largest = tl.max(x, 0)
        exponentials = tl.exp(x - largest)
        total = tl.sum(exponentials, 0)
        normaliser = tl.log(total) + largest
        tl.store(LOSSES + row, normaliser - chosen)
        tl.store(NORMALISERS + row, normaliser)
        if GRADIENT:
            share = exponentials * ((1 + 2 * z_loss * normaliser) / total)
            store_gradient(ROW, columns, share, target, WIDTH)


@jit
def _twice(
    LOGITS, TARGETS, LOSSES, NORMALISERS, z_loss,
    N: tl.constexpr, WIDTH: tl.constexpr, GRADIENT: tl.constexpr, IGNORED: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(TARGETS + row)
    columns = tl.arange(0, PIECE)
    ROW = LOGITS + row * WIDTH
    if target == IGNORED:
        tl.store(LOSSES + row, 0.0)
        tl.store(NORMALISERS + row, 0.0)
        if GRADIENT:
            for start in range(0, WIDTH, PIECE):
                zeros = tl.zeros((PIECE,), LOGITS.dtype.element_ty)
                tl.store(ROW + start + columns, zeros, mask=start + columns < WIDTH)
    else:
        chosen = wide(tl.load(ROW + target, mask=(target >= 0) & (target < N), other=float("nan")))
        largest, sums = tl.full((PIECE,), -3e38, chosen.dtype), tl.zeros((PIECE,), chosen.dtype)
        for start in range(0, WIDTH, PIECE):
            x = load_logits(ROW, start + columns, N, WIDTH)
            larger = tl.maximum(largest, x)
            sums = sums * tl.exp(largest - larger) + tl.exp(x - larger)
            largest = larger
        highest = tl.max(largest, 0)
        total = tl.sum(sums * tl.exp(largest - highest), 0)
        normaliser = tl.log(total) + highest
        tl.store(LOSSES + row, normaliser - chosen)
        tl.store(NORMALISERS + row, normaliser)
        if GRADIENT:
            scale = (1 + 2 * z_loss * normaliser) / total
            for start in range(0, WIDTH, PIECE):
                x = load_logits(ROW, start + columns, N, WIDTH)
                store_gradient(ROW, start + columns, tl.exp(x - highest) * scale, target, WIDTH)


@jit
def load_logits(ROW, columns, N: tl.constexpr, WIDTH: tl.constexpr):
    """In fp32 or fp64; minus infinity beyond the vocabulary, N, whatever pads the row."""
    x = wide(tl.load(ROW + columns, mask=columns < WIDTH, other=0.0))
    return tl.where(columns < N, x, float("-inf"))


@jit
def store_gradient(ROW, columns, share, target, WIDTH: tl.constexpr):
    """share, but 1 less at the target."""
    gradient = tl.where(columns == target, share - 1, share)
    tl.store(ROW + columns, gradient.to(ROW.dtype.element_ty), mask=columns < WIDTH)
