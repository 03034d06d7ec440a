"""The decoder's arithmetic that has no kernel of our own, as plain functions of tensors. The rest is `clapas_kernels`.

Each says its formula and source. Sums and exponentials are in fp32 whatever the precision of the tensors.
Shapes: B batch, S sequence, T keys, H heads, K key-value heads, D head_dim, E hidden, F intermediate, V vocabulary,
N tokens of a batch, in any arrangement.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model.cpu import are_few, multiplying
from clapas_kernels import Documents
from clapas_kernels import attention as document_attention

IGNORED = -100
"""A target that is not one: a masked position. PyTorch's and Hugging Face's convention."""

SHORT_ATTENTION = 512
"""Sequence length up to which attention on a CPU is quicker by plain matrix products (see benchmarks/model.py)."""


def attention(
    q_BHSD: Tensor,
    k_BKTD: Tensor,
    v_BKTD: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    documents: Documents | None = None,
) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, each of K key-value heads shared by H / K query heads (Ainslie et al., 2023).

    mask: True where a query may look, broadcast to (B, H, S, T); or None.
    is_causal: query s looks at keys 0 to s; S = T. documents: the same, within the document of each; then no mask.
    """
    if documents is not None:
        return document_attention(q_BHSD, k_BKTD, v_BKTD, documents)
    on_cpu, is_wide = q_BHSD.device.type == "cpu", q_BHSD.dtype == torch.float32
    if on_cpu and q_BHSD.shape[2] == 1:  # a kernel that multiplies piece by piece, and oneDNN is slow to begin each
        with multiplying(by_onednn=False):
            return F.scaled_dot_product_attention(q_BHSD, k_BKTD, v_BKTD, mask, enable_gqa=_shares(q_BHSD, k_BKTD))
    if on_cpu and is_wide and k_BKTD.shape[2] <= SHORT_ATTENTION:
        return _attention_by_matrices(q_BHSD, k_BKTD, v_BKTD, mask, is_causal)
    shared = _shares(q_BHSD, k_BKTD)
    if shared and not on_cpu and (mask is not None or is_wide):
        # on a GPU only the flash kernel shares heads; with a mask or in fp32 sharing would fall back to the slow one
        k_BKTD, v_BKTD = (x.repeat_interleave(q_BHSD.shape[1] // x.shape[1], dim=1) for x in (k_BKTD, v_BKTD))
        shared = False
    return F.scaled_dot_product_attention(q_BHSD, k_BKTD, v_BKTD, mask, is_causal=is_causal, enable_gqa=shared)


def _shares(q_BHSD: Tensor, k_BKTD: Tensor) -> bool:
    return q_BHSD.shape[1] != k_BKTD.shape[1]


def _attention_by_matrices(
    q_BHSD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, mask: Tensor | None, is_causal: bool
) -> Tensor:
    """`attention` with its scores held: a CPU's flash kernel multiplies pieces too small to be fast on short texts."""
    batch, heads, new, head_dim = q_BHSD.shape
    shared, seen = k_BKTD.shape[1:3]
    by_key_head = (batch * shared, heads // shared * new)  # a key head's queries, of all heads that share it, in a row
    scores = (q_BHSD * head_dim**-0.5).reshape(*by_key_head, head_dim) @ k_BKTD.flatten(0, 1).mT
    if is_causal:
        mask = torch.ones(new, seen, dtype=torch.bool).tril_()
    if mask is not None:
        scores.view(batch, heads, new, seen).add_(torch.zeros(mask.shape).masked_fill_(~mask, float("-inf")))
    return (scores.softmax(-1) @ v_BKTD.flatten(0, 1)).view(q_BHSD.shape)


def linear(x_NE: Tensor, weight_FE: Tensor, bias_F: Tensor | None = None) -> Tensor:
    """x W^T + b, (..., F); of few rows on a CPU, where nothing trains, as (W x^T)^T (`cpu.are_few`)."""
    on_cpu, is_wide = x_NE.device.type == "cpu", x_NE.dtype == torch.float32
    is_few = on_cpu and is_wide and are_few(x_NE.shape[:-1].numel(), x_NE.shape[-1])
    if torch.is_grad_enabled() or not is_few or not weight_FE.is_contiguous():
        return F.linear(x_NE, weight_FE, bias_F)
    y_NF = (weight_FE @ x_NE.flatten(0, -2).t()).t()
    return (y_NF if bias_F is None else y_NF + bias_F).view(*x_NE.shape[:-1], -1)


def multiplies_in_groups(x_NE: Tensor) -> bool:
    """Whether one kernel can multiply each group of rows by its own matrix (`F.grouped_mm`): on a GPU, in bf16."""
    return x_NE.device.type == "cuda" and x_NE.dtype == torch.bfloat16 and hasattr(F, "grouped_mm")


def summed_loss(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """The sum of the cross-entropies in nats, in fp32, over the targets that are not IGNORED. The caller divides.

    logits_NV: (..., V); targets_N: integers of the leading shape.
    """
    flat_NV = logits_NV.reshape(-1, logits_NV.shape[-1]).float()
    return F.cross_entropy(flat_NV, targets_N.reshape(-1), ignore_index=IGNORED, reduction="sum")
