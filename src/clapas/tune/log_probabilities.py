"""Log-probabilities of targets with their gradient, without holding the logits of all tokens: what preference and
reinforcement losses, and the reference of either, are made of.

    log p_n = x_n[t_n] - log sum exp x_n,   x = hidden weight^T

With g_n the loss's gradient by log p_n and P_n = softmax(x_n) - (1 at t_n), the gradient of a row's cross-entropy:

    d hidden_n = -g_n (P_n weight);   d weight = -P^T (diag(g) hidden)

g_n multiplies rows of E and never rows of V, so the kernels that write P over the logits (`cross_entropy_rows`) serve
as they are. Rows without a target are left out before the first product: of a preference pair, the prompts.

The loss's gradient is known only after all rows' log-probabilities are. So rows are taken in chunks, and:

- a head that is frozen (LoRA): P weight is made in the forward pass and kept, (N, E); the logits are made once;
- else P is kept where all of it is small (`HELD_ON_CPU`, `SHARE_HELD`), or made again in the backward pass, a fourth
  product; either way the same numbers in the same order.

N rows with a target, B batch, S sequence, E hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from clapas_kernels.cross_entropy_rows import IGNORED, losses_reference, losses_triton, padded
from clapas_kernels.dispatch import runs_triton
from clapas_kernels.linear_cross_entropy import SHARE_OF_MEMORY, add_product, rows_of_chunk
from clapas_kernels.rows import wide_dtype

HELD_ON_CPU = 2**28
"""Bytes of P that are kept between the passes on a CPU; on an accelerator its memory / `SHARE_OF_MEMORY`, which one
chunk of the projection's loss may take as well."""


def log_probabilities(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor) -> Tensor:
    """log p of each target under softmax(hidden weight^T), in nats; 0 where there is none.

    hidden_BSE: (..., E). weight_VE: (V, E), in the dtype of hidden. targets_BS: (...), int64; -100 for none.
    Returns (...), in fp32, or fp64 for fp64; differentiable once, with any gradient a target. As a criterion of
    `CausalLM.forward` it goes through `functools.partial(log_probabilities, targets_BS=...)`.
    """
    targets = targets_BS.reshape(-1)
    places_N = (targets != IGNORED).nonzero()[:, 0]
    rows_NE = hidden_BSE.reshape(-1, hidden_BSE.shape[-1]).index_select(0, places_N)
    is_recording = torch.is_grad_enabled()
    wants = is_recording and rows_NE.requires_grad, is_recording and weight_VE.requires_grad
    found_N: Tensor = _OfRows.apply(rows_NE, weight_VE, targets[places_N], *wants)  # pyright: ignore[reportAssignmentType]
    return found_N.new_zeros(targets.shape).index_copy(0, places_N, found_N).view(targets_BS.shape)


def sum_by_document(values_BS: Tensor, segments_BS: Tensor, documents: int) -> Tensor:
    """(documents,): the sum of each document's values, in one order on every device, so that a resume is exact.

    segments_BS: as a `loader.batch.Batch` has it: rising, -1 for padding, where values are 0.
    """
    if not documents:
        return values_BS.new_zeros(0) + 0 * values_BS.sum()  # of the graph still: every rank runs a backward pass
    owners = segments_BS.reshape(-1).cummax(0).values.clamp(min=0)  # padding adds its zeros to the document before it
    lengths_N = torch.bincount(owners, minlength=documents)
    return torch.segment_reduce(values_BS.reshape(-1), "sum", lengths=lengths_N, unsafe=True)


class _OfRows(torch.autograd.Function):
    """Log-probabilities of rows that all have a target, (N,)."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] torch's own way
        ctx: Any, hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, wants_hidden: bool, wants_weight: bool
    ) -> Tensor:
        ctx.wants = wants_hidden, wants_weight
        losses_N = hidden_NE.new_empty(len(hidden_NE), dtype=wide_dtype(hidden_NE.dtype))
        keeps = wants_weight and _is_small(hidden_NE, weight_VE)
        held_NV = _logits_buffer(len(hidden_NE), hidden_NE, weight_VE) if keeps else None
        projected_NE = torch.empty_like(hidden_NE) if wants_hidden and not wants_weight else None
        for chunk, losses_C, share_CV in _shares(
            hidden_NE, weight_VE, targets_N, held_NV, keeps or projected_NE is not None
        ):
            losses_N[chunk] = losses_C
            if projected_NE is not None:
                torch.mm(share_CV, weight_VE, out=projected_NE[chunk])
        ctx.save_for_backward(hidden_NE, weight_VE, targets_N)
        ctx.held_NV, ctx.projected_NE = held_NV, projected_NE
        return losses_N.neg_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """One chunk after another, as the forward pass took them."""
        hidden_NE, weight_VE, targets_N = ctx.saved_tensors
        grad_N1, (wants_hidden, wants_weight) = -grads[0][:, None], ctx.wants
        if ctx.projected_NE is not None:
            return _times(ctx.projected_NE, grad_N1), None, None, None, None
        # of the largest gradient, so that 16 bits hold hidden times it whatever the loss's scale
        largest = grad_N1.abs().amax().clamp(min=torch.finfo(grad_N1.dtype).tiny) if len(grad_N1) else grad_N1.sum()
        grad_hidden_NE = torch.empty_like(hidden_NE) if wants_hidden else None
        grad_weight_VE = torch.zeros_like(weight_VE, dtype=grad_N1.dtype) if wants_weight else None
        for chunk, _, share_CV in _shares(
            hidden_NE, weight_VE, targets_N, ctx.held_NV, True, is_held=ctx.held_NV is not None
        ):
            if grad_hidden_NE is not None:
                torch.mm(share_CV, weight_VE, out=grad_hidden_NE[chunk])
            if grad_weight_VE is not None:
                scaled_CE = _times(hidden_NE[chunk], grad_N1[chunk] / largest)
                add_product(grad_weight_VE, share_CV.t(), scaled_CE, is_first=chunk.start == 0)
        ctx.held_NV = None
        return (
            None if grad_hidden_NE is None else _times(grad_hidden_NE, grad_N1),
            None if grad_weight_VE is None else (grad_weight_VE.mul_(largest)).to(weight_VE.dtype),
            None, None, None,
        )  # fmt: skip


def _shares(
    hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, held_NV: Tensor | None, wants_share: bool,
    *, is_held: bool = False,
) -> Iterator[tuple[slice, Tensor, Tensor]]:  # fmt: skip
    """Chunk by chunk: (which rows, their losses, P). P is overwritten by the next chunk's, unless all are held.

    is_held: P is in held_NV already; the losses are then of no use.
    """
    losses_of_rows = losses_triton if runs_triton(hidden_NE) else losses_reference
    rows = max(1, min(len(hidden_NE), rows_of_chunk(hidden_NE, weight_VE)))
    buffer_CV = _logits_buffer(rows, hidden_NE, weight_VE) if held_NV is None else held_NV
    for start in range(0, len(hidden_NE), rows):
        chunk = slice(start, min(start + rows, len(hidden_NE)))
        own_CV = buffer_CV[: chunk.stop - start] if held_NV is None else held_NV[chunk]
        if is_held:
            yield chunk, own_CV, own_CV
            continue
        torch.mm(hidden_NE[chunk], weight_VE.t(), out=own_CV)
        losses_C, _ = losses_of_rows(own_CV, targets_N[chunk], 0.0, wants_share)
        yield chunk, losses_C, own_CV


def _logits_buffer(rows: int, hidden_NE: Tensor, weight_VE: Tensor) -> Tensor:
    """Rows of logits as the kernels want them: `padded` apart."""
    return hidden_NE.new_empty(rows, padded(len(weight_VE)))[:, : len(weight_VE)]


def _is_small(hidden_NE: Tensor, weight_VE: Tensor) -> bool:
    """Whether P of all rows may be kept between the passes."""
    held = len(hidden_NE) * padded(len(weight_VE)) * hidden_NE.element_size()
    if not hidden_NE.is_cuda:
        return held <= HELD_ON_CPU
    return held <= torch.cuda.get_device_properties(hidden_NE.device).total_memory // SHARE_OF_MEMORY


def _times(x_NE: Tensor, factor_N1: Tensor) -> Tensor:
    """x times a number a row, in fp32 although x may be of 16 bits."""
    return (x_NE.to(factor_N1.dtype) * factor_N1).to(x_NE.dtype)
