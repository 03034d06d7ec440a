"""The projection to logits and their cross-entropy, without ever holding the logits of all tokens.

    logits = hidden weight^T;   objective = sum over targets of cross-entropy + z_loss (log sum exp)^2

Rows, losses and gradients of logits: `cross_entropy_rows`. With g the gradient of the objective by the logits:

    d hidden = g weight;   d weight = g^T hidden

A batch's logits are the largest tensor of training by far. A row's gradient needs that row's logits alone, so rows are
taken in chunks: one product makes a chunk's logits, a kernel overwrites them with g, two products make the chunk's
share of the gradients (as in Liger-Kernel, Hsu et al., 2024, arXiv:2410.10989). All of it in the forward pass; the
backward pass multiplies by the upstream gradient, one number. Measured on a CPU (fp32, 1 thread, T = 8,192, V = 32,768,
E = 512, oneDNN): 8.7 s, against 11.8 s where the backward pass makes the logits a second time (a fourth product),
11.3 s with `torch.nn.functional.linear_cross_entropy` and 11 to 14 s with plain logits.

d weight is summed over chunks in fp32, or fp64 for fp64, and rounded once, after the upstream gradient. Logits are
rounded to the dtype of hidden, as the product of a plain linear layer is.

Traffic, b = 2 bytes an element of bf16, T tokens, n = T / C chunks of C rows; each launch reads and writes once:

    logits: written, read, overwritten, read twice               5 b T V
    weight: read by two products a chunk                         2 n b V E
    d weight, fp32: written n times, read n - 1 times            4 (2 n - 1) V E
    d weight, times the upstream gradient: read, written         (4 + b) V E
    hidden read twice, d hidden written, read, written           5 b T E

At T = 16,384, E = 4,096, V = 128,256 and C = 4,096: 21.0 + 8.4 + 14.7 + 3.2 + 0.7 = 48.0 GB: 14 ms at the bandwidth of
an H100, beside 75 ms of products. At C = 512, as Liger-Kernel chooses: 224 GB. At C = 8,192: 35 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from clapas_kernels.cross_entropy_rows import losses_reference, losses_triton, padded
from clapas_kernels.dispatch import register
from clapas_kernels.language import cdiv, jit, next_power_of_2, tl
from clapas_kernels.rows import WIDEST_ACCESS, as_rows, warps_for, wide, wide_dtype

LOGITS_ON_CPU = 2**22
"""Logits of a chunk on a CPU: 16 MiB in fp32, which stay in a processor's last cache."""
ROWS_ON_CPU = 256
"""Rows of a chunk on a CPU, at least: d weight is read and written once a chunk. Measured as above: 128 rows take
9.9 s, 256 8.7 s, 512 9.0 s, 4,096 9.3 s."""
ROWS = 4_096
"""Rows of a chunk on an accelerator, at least where they fit: see the traffic above."""
ROWS_AT_LEAST = 128
"""Rows of a chunk where memory is short: fewer would not fill one tile of a product."""
SHARE_OF_MEMORY = 32
"""More rows where logits take no more than this part of an accelerator's memory: what they cost beside a model."""
SHARE_OF_FREE_MEMORY = 2
"""Fewer rows where they would take more than this part of what is free."""
ADDS_TO_FP32 = TorchVersion(torch.__version__) >= "2.10"
"""Whether a product of 16-bit matrices may be added to an fp32 matrix where it stands, on an accelerator (PyTorch's
pull request 167931)."""

PIECE = 1024
"""Elements that a program of the backward pass multiplies."""

LossesOfRows = Callable[[Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]


def linear_cross_entropy(
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, z_loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(objective, losses): the cross-entropies of hidden weight^T, in nats, summed and row by row.

    hidden_NE: (..., E). weight_VE: (V, E), in the dtype of hidden. targets_N: (...), int64; -100 for none.
    z_loss: how much of (log sum exp)^2 is added to the objective for each target.

    objective: a scalar, the sum over all targets; the caller divides. 0, with gradients of 0, where there is none.
    losses: (...), the cross-entropy at each target, without z-loss, and 0 elsewhere. It carries no gradient.
    Both in fp32, or fp64 for fp64. Differentiable once. Raises ValueError where shapes or dtypes do not go together; on
    a CPU PyTorch raises at a target outside the vocabulary, on an accelerator the objective is then NaN.
    """
    _check(hidden_NE, weight_VE, targets_N)
    is_recording = torch.is_grad_enabled()
    wants = is_recording and hidden_NE.requires_grad, is_recording and weight_VE.requires_grad
    objective, losses_N, _, _ = _linear_cross_entropy(hidden_NE, weight_VE, targets_N, z_loss, *wants)
    return objective, losses_N


def _check(hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor) -> None:
    shapes = f"hidden {tuple(hidden_NE.shape)}, weight {tuple(weight_VE.shape)}, targets {tuple(targets_N.shape)}"
    if weight_VE.ndim != 2 or hidden_NE.shape[-1:] != weight_VE.shape[1:] or hidden_NE.shape[:-1] != targets_N.shape:
        raise ValueError(f"linear_cross_entropy: found {shapes}; must be (..., E), (V, E) and (...)")
    if hidden_NE.dtype != weight_VE.dtype or targets_N.dtype != torch.int64:
        found = f"hidden in {hidden_NE.dtype}, weight in {weight_VE.dtype}, targets in {targets_N.dtype}"
        raise ValueError(f"linear_cross_entropy: found {found}; must be one floating dtype, and torch.int64")


def rows_of_chunk(hidden: Tensor, weight_VE: Tensor) -> int:
    """How many rows' logits are held at a time on the device of hidden."""
    if not hidden.is_cuda:
        return max(ROWS_ON_CPU, LOGITS_ON_CPU // max(1, len(weight_VE)))
    free, total = torch.cuda.mem_get_info(hidden.device)
    free += torch.cuda.memory_reserved(hidden.device) - torch.cuda.memory_allocated(hidden.device)
    return rows_that_fit(padded(len(weight_VE)) * hidden.element_size(), free, total)


def rows_that_fit(row_bytes: int, free: int, total: int) -> int:
    """`ROWS` or more on an accelerator with `total` bytes, unless those that are `free` are short.

    The size of a chunk orders the sum of d weight, so it must not follow each byte that comes and goes: it is a power
    of two, and what is free only matters where it is too little.
    """
    rows = max(ROWS, next_power_of_2(total // SHARE_OF_MEMORY // row_bytes + 1) // 2)
    while rows > ROWS_AT_LEAST and rows * row_bytes > free // SHARE_OF_FREE_MEMORY:
        rows //= 2
    return rows


def in_chunks(
    losses_of_rows: LossesOfRows,
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, z_loss: float, wants_hidden: bool, wants_weight: bool,
    rows: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The objective, each row's loss, d hidden, and d weight in fp32 (or fp64); a gradient not wanted is empty.

    losses_of_rows: `losses_reference` or `losses_triton`. rows: of a chunk; None: `rows_of_chunk`.
    """
    hidden, targets = as_rows(hidden_NE), targets_N.reshape(-1).contiguous()
    losses = hidden.new_empty(len(hidden), dtype=wide_dtype(hidden.dtype))
    normalisers = torch.empty_like(losses)
    grad_hidden_NE = hidden.new_empty(hidden_NE.shape if wants_hidden else 0)
    grad_hidden = grad_hidden_NE.view(hidden.shape) if wants_hidden else grad_hidden_NE
    grad_weight_VE = losses.new_empty(weight_VE.shape if wants_weight else 0)
    rows = min(len(hidden), rows or rows_of_chunk(hidden, weight_VE))
    held_CV = hidden.new_empty(rows, padded(len(weight_VE)))[:, : len(weight_VE)]
    for start in range(0, len(hidden), max(rows, 1)):
        chunk = slice(start, start + rows)
        x_CE = hidden[chunk]
        logits_CV = torch.mm(x_CE, weight_VE.t(), out=held_CV[: len(x_CE)])
        losses[chunk], normalisers[chunk] = losses_of_rows(
            logits_CV, targets[chunk], z_loss, wants_hidden or wants_weight
        )
        if wants_hidden:
            torch.mm(logits_CV, weight_VE, out=grad_hidden[chunk])
        if wants_weight:
            add_product(grad_weight_VE, logits_CV.t(), x_CE, is_first=start == 0)
    if len(hidden) == 0:
        grad_weight_VE.zero_()
    objective = losses.sum() + z_loss * normalisers.square().sum()
    return objective, losses.view(targets_N.shape), grad_hidden_NE, grad_weight_VE


def add_product(sum_VE: Tensor, left_VC: Tensor, right_CE: Tensor, is_first: bool) -> None:
    """sum += left right, where sum may be fp32 and left and right of 16 bits; the first product becomes the sum."""
    mixed: dict[str, Any] = {} if sum_VE.dtype == left_VC.dtype else {"out_dtype": sum_VE.dtype}
    if mixed and sum_VE.device.type == "cpu":  # whose product has its factors' dtype
        product_VE = left_VC @ right_CE
        sum_VE.copy_(product_VE) if is_first else sum_VE.add_(product_VE)
    elif is_first:
        torch.mm(left_VC, right_CE, **mixed, out=sum_VE)
    elif mixed and not ADDS_TO_FP32:
        sum_VE.add_(torch.mm(left_VC, right_CE, **mixed))
    else:
        torch.addmm(sum_VE, left_VC, right_CE, **mixed, out=sum_VE)


# The backward pass: one product with a number, in fp32 although the tensors may be of 16 bits


def _times_reference(factor: Tensor, grad_hidden_NE: Tensor, grad_weight_VE: Tensor) -> tuple[Tensor, ...]:
    products = (x.to(factor.dtype) * factor for x in (grad_hidden_NE, grad_weight_VE))
    return tuple(product.to(grad_hidden_NE.dtype) for product in products)


def times_triton(factor: Tensor, grad_hidden_NE: Tensor, grad_weight_VE: Tensor) -> tuple[Tensor, ...]:
    """d hidden and d weight times one number, both in the dtype of d hidden."""
    results = tuple(torch.empty_like(x, dtype=grad_hidden_NE.dtype) for x in (grad_hidden_NE, grad_weight_VE))
    unit = WIDEST_ACCESS // grad_hidden_NE.element_size()
    for x, result in zip((grad_hidden_NE, grad_weight_VE), results, strict=True):
        flat, flat_result = x.view(-1), result.view(-1)
        body = x.numel() // unit * unit
        for part, size in ((slice(0, body), unit), (slice(body, None), 1)):
            if count := len(flat[part]):
                _times[(cdiv(count, PIECE),)](
                    factor, flat[part], flat_result[part], count // size,
                    UNIT=size, PIECE=PIECE, num_warps=warps_for(PIECE, result),
                )  # fmt: skip
    return results


@jit
def _times(FACTOR, X, RESULT, units, UNIT: tl.constexpr, PIECE: tl.constexpr):
    """units: of UNIT elements, so that the compiler knows what it may load at once."""
    places = tl.program_id(0).to(tl.int64) * PIECE + tl.arange(0, PIECE)
    is_there = places // UNIT < units
    product = wide(tl.load(X + places, mask=is_there)) * tl.load(FACTOR)
    tl.store(RESULT + places, product.to(RESULT.dtype.element_ty), mask=is_there)


# The operators


def _fake(
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, z_loss: float, wants_hidden: bool, wants_weight: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    losses_N = hidden_NE.new_empty(targets_N.shape, dtype=wide_dtype(hidden_NE.dtype))
    grad_hidden_NE = hidden_NE.new_empty(hidden_NE.shape if wants_hidden else 0)
    grad_weight_VE = losses_N.new_empty(weight_VE.shape if wants_weight else 0)
    return losses_N.new_empty(()), losses_N, grad_hidden_NE, grad_weight_VE


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.wants = inputs[-2:]
    ctx.save_for_backward(*output[2:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad: Tensor | None, *others: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    results = _linear_cross_entropy_backward(grad, *ctx.saved_tensors)
    return *(x if wanted else None for x, wanted in zip(results, ctx.wants, strict=True)), None, None, None, None


_linear_cross_entropy_backward = register(
    "linear_cross_entropy_backward(Tensor grad, Tensor grad_hidden, Tensor grad_weight) -> (Tensor, Tensor)",
    reference=_times_reference,
    triton=times_triton,
    fake=lambda grad, grad_hidden, grad_weight: (
        torch.empty_like(grad_hidden),
        torch.empty_like(grad_weight, dtype=grad_hidden.dtype),
    ),
)
_linear_cross_entropy = register(
    "linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, float z_loss, bool wants_hidden, "
    "bool wants_weight) -> (Tensor, Tensor, Tensor, Tensor)",
    reference=partial(in_chunks, losses_reference),
    triton=partial(in_chunks, losses_triton),
    fake=_fake,
    backward=_autograd,
    setup_context=_setup_context,
)
