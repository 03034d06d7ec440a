"""A sum over rows of any function of their logits, without ever holding the logits of all rows.

    logits = hidden weight^T;   sum over rows of f(logits of the row)

A batch's logits are the largest tensor of training by far, and a row's gradient needs that row's logits alone. So rows
are taken in chunks, as in `clapas_kernels.linear_cross_entropy`: a chunk's logits are made, autograd gives the
gradient g of f by them, and two products make the chunk's share of d hidden = g weight and d weight = g^T hidden, all
of it in the forward pass. The backward pass multiplies by the upstream gradient. d weight is summed in fp32, or fp64.

Shapes: N rows, C rows of a chunk, E hidden, V vocabulary, K further numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clapas_kernels.linear_cross_entropy import rows_of_chunk

ROWS_AT_LEAST = 128
HELD = 8
"""A chunk has so many times fewer rows than one of plain cross-entropy: autograd holds copies of its logits."""

OfLogits = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""(logits of a chunk, (C, V), fp32 or fp64; which of the rows these are) -> (what is minimised of each row, (C,); what
else is told of each row, (C, K))."""


def sum_over_rows(
    hidden_NE: Tensor, weight_VE: Tensor, of_logits: OfLogits, told: int, rows: int | None = None
) -> tuple[Tensor, Tensor]:
    """(the sum over all rows, a scalar; what is told of each, (N, told), without gradient), in fp32 or fp64.

    told: how many numbers `of_logits` tells of a row. rows: of a chunk. Differentiable once; 0, with gradients of 0,
    where there are no rows.
    """
    if rows is None:
        rows = max(ROWS_AT_LEAST, rows_of_chunk(hidden_NE, weight_VE) // HELD)
    return _SumOverRows.apply(hidden_NE, weight_VE, of_logits, told, rows)  # pyright: ignore[reportReturnType] torch's


class _SumOverRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NE: Tensor, weight_VE: Tensor, of_logits: OfLogits, told: int, rows: int
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden_NE.dtype, torch.float32)
        wants = any(ctx.needs_input_grad)
        total = hidden_NE.new_zeros((), dtype=wide)
        told_NK = hidden_NE.new_zeros((len(hidden_NE), told), dtype=wide)
        grad_hidden_NE = torch.zeros_like(hidden_NE) if wants else hidden_NE.new_empty(0)
        grad_weight_VE = torch.zeros_like(weight_VE, dtype=wide) if wants else hidden_NE.new_empty(0)
        for start in range(0, len(hidden_NE), rows):
            chunk = slice(start, min(start + rows, len(hidden_NE)))
            x_CE = hidden_NE[chunk]
            logits_CV = (x_CE @ weight_VE.t()).to(wide)
            with torch.set_grad_enabled(wants):
                minimised_C, told_NK[chunk] = of_logits(logits_CV.requires_grad_(wants), chunk)
                sum_ = minimised_C.sum()
            total += sum_.detach()
            if wants:
                (grad_CV,) = torch.autograd.grad(sum_, logits_CV)
                grad_CV = grad_CV.to(hidden_NE.dtype)
                grad_hidden_NE[chunk] = grad_CV @ weight_VE
                grad_weight_VE += grad_CV.t() @ x_CE
        ctx.save_for_backward(grad_hidden_NE, grad_weight_VE)
        ctx.mark_non_differentiable(told_NK)
        ctx.set_materialize_grads(False)
        return total, told_NK

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad, (grad_hidden_NE, grad_weight_VE) = grads[0], ctx.saved_tensors
        if grad is None:
            return (None,) * 5
        dtype = grad_hidden_NE.dtype
        return (grad_hidden_NE * grad).to(dtype), (grad_weight_VE * grad).to(dtype), None, None, None
