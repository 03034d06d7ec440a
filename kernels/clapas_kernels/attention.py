"""Causal attention within documents: the fused kernel that PyTorch has for this device, and one reference.

    o[s] = sum over t of softmax_t(q[s] . k[t] / sqrt(D)) v[t],      t <= s, both of one document

Nothing is written here that PyTorch has (Dao, 2023, arXiv:2307.08691, behind all of these):

- `varlen`: `torch.nn.attention.varlen`, which walks through the documents by their cumulative lengths: what lies
  between two documents is never computed. NVIDIA from sm_80 on and AMD with flash attention; 16 bits.
- `flex`: FlexAttention (Dong et al., 2024, arXiv:2412.05496), compiled, which leaves out blocks that no document
  covers; on accelerators, in any dtype.
- `sdpa`: `scaled_dot_product_attention` with a dense mask, which holds S x S numbers a sample and computes all of them;
  everywhere.

`choose` names the one that a tensor gets and why, and the first call of each is logged. With one document a sample,
`documents=None`, all is `scaled_dot_product_attention` with its causal kernel.

Shapes: B batch, S sequence, H heads, K key-value heads (each serves H / K heads: Ainslie et al., 2023), D head size.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels.dispatch import explained_by, forced

Kernel = Literal["varlen", "flex", "sdpa"]
LOG = logging.getLogger("clapas_kernels")
VARLEN_HEAD_SIZES = range(8, 257, 8)
"""What flash attention takes."""
SIXTEEN_BITS = (torch.float16, torch.bfloat16)


class Documents:
    """Which tokens of a batch belong together.

    ids_BS: equal for tokens of one document, rising along a sample.
    starts: (documents + 1,), int32, on the device of ids: where each begins among the B S tokens, and B S at the end.
    Further entries of B S are empty documents, so that the shape need not change from batch to batch. Counted on the
    CPU (`document_starts`) while the batch is made: here it would make the accelerator wait.
    """

    def __init__(self, ids_BS: Tensor, starts: Tensor | None = None) -> None:
        self.ids_BS = ids_BS
        self.starts = document_starts(ids_BS) if starts is None else starts

    @cached_property
    def mask(self) -> Tensor:
        """True where a query may look, (B, 1, S, S)."""
        length = self.ids_BS.shape[1]
        causal_SS = torch.ones(length, length, dtype=torch.bool, device=self.ids_BS.device).tril_()
        return causal_SS & (self.ids_BS[:, None, :, None] == self.ids_BS[:, None, None, :])

    @cached_property
    def blocks(self) -> Any:
        """FlexAttention's mask: which blocks hold anything."""
        from torch.nn.attention.flex_attention import create_block_mask

        ids_BS = self.ids_BS

        def may_look(batch: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (ids_BS[batch, query] == ids_BS[batch, key])

        batch, length = ids_BS.shape
        return create_block_mask(may_look, batch, None, length, length, device=str(ids_BS.device))


def document_starts(ids_BS: Tensor) -> Tensor:
    """`Documents.starts` of these ids, padded to a power of two: few shapes, so few compilations."""
    batch, length = ids_BS.shape
    begins_BS = torch.ones(batch, length, dtype=torch.bool, device=ids_BS.device)
    begins_BS[:, 1:] = ids_BS[:, 1:] != ids_BS[:, :-1]
    places = begins_BS.flatten().nonzero().flatten()
    size = 1 << len(places).bit_length()  # at least one more: the end
    starts = torch.full((size,), batch * length, dtype=torch.int32, device=ids_BS.device)
    starts[: len(places)] = places
    return starts


def attention(q_BHSD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, documents: Documents | None = None) -> Tensor:
    """Causal attention within each document, (B, H, S, D); see the module.

    documents: None where each sample is one document.
    """
    if forced() == "reference":
        return attention_reference(q_BHSD, k_BKSD, v_BKSD, documents)
    if documents is None:
        return _sdpa(q_BHSD, k_BKSD, v_BKSD, None)
    kernel, reason = choose(q_BHSD)
    _say_once(kernel, reason)
    return KERNELS[kernel](q_BHSD, k_BKSD, v_BKSD, documents)


def attention_reference(q_BHSD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, documents: Documents | None = None) -> Tensor:
    """The formula, with all scores held, in fp32 or fp64."""
    wide = torch.promote_types(q_BHSD.dtype, torch.float32)
    k, v = (x.to(wide).repeat_interleave(q_BHSD.shape[1] // x.shape[1], dim=1) for x in (k_BKSD, v_BKSD))
    scores_BHSS = q_BHSD.to(wide) @ k.mT * q_BHSD.shape[-1] ** -0.5
    length = q_BHSD.shape[2]
    may_look = torch.ones(length, length, dtype=torch.bool, device=q_BHSD.device).tril_()
    if documents is not None:
        may_look = documents.mask
    return (scores_BHSS.masked_fill(~may_look, float("-inf")).softmax(-1) @ v).to(q_BHSD.dtype)


def choose(q_BHSD: Tensor) -> tuple[Kernel, str]:
    """(the kernel for document-masked attention of such queries, why)."""
    if not q_BHSD.is_cuda:
        return "sdpa", f"no fused kernel for documents on {q_BHSD.device.type}"
    if reason := _why_not_varlen(q_BHSD):
        return "flex", f"not varlen: {reason}"
    return "varlen", "flash attention by cumulative lengths"


@explained_by("attention")
def _explain(device: str) -> tuple[str, str]:
    """For queries in bf16 with heads of 128."""
    if forced() == "reference":
        return "reference", 'by clapas_kernels.use("reference")'
    kernel, reason = choose(torch.empty(1, 1, 1, 128, dtype=torch.bfloat16, device=device))
    return kernel, f"of documents: {reason}; of whole samples: scaled_dot_product_attention"


def _why_not_varlen(q_BHSD: Tensor) -> str | None:
    if not has_varlen():
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    if q_BHSD.dtype not in SIXTEEN_BITS:
        return f"it takes 16 bits, not {q_BHSD.dtype}"
    if q_BHSD.shape[-1] not in VARLEN_HEAD_SIZES:
        return f"it takes head sizes up to 256 that are multiples of 8, not {q_BHSD.shape[-1]}"
    if not torch.backends.cuda.is_flash_attention_available():
        return "this torch was built without flash attention"
    if torch.version.hip is None and torch.cuda.get_device_capability(q_BHSD.device) < (8, 0):
        return "it needs compute capability 8.0"
    return None


@cache
def has_varlen() -> bool:
    """Whether this torch has it (2.10 and later)."""
    return importlib.util.find_spec("torch.nn.attention.varlen") is not None


@cache
def _say_once(kernel: Kernel, reason: str) -> None:
    LOG.info("document-masked attention: %s (%s)", kernel, reason)


def _varlen(q_BHSD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, documents: Documents) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    batch, _, length, _ = q_BHSD.shape
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q_BHSD, k_BKSD, v_BKSD))  # token-major
    starts = documents.starts
    # the longest document is not known here without waiting for the device; no document is longer than a sample
    mixed = varlen_attn(
        q, k, v, starts, starts, length, length,
        window_size=(-1, 0), enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    assert isinstance(mixed, Tensor)
    return mixed.view(batch, length, *mixed.shape[1:]).transpose(1, 2)


def _flex(q_BHSD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, documents: Documents) -> Tensor:
    mixed = _flex_attention(q_BHSD.is_cuda)(
        q_BHSD, k_BKSD, v_BKSD, block_mask=documents.blocks, enable_gqa=q_BHSD.shape[1] != k_BKSD.shape[1]
    )
    assert isinstance(mixed, Tensor)
    return mixed


@cache
def _flex_attention(compiles: bool) -> Callable[..., Any]:
    """Compiled it is one kernel; uncompiled it holds all scores, which is for tests on a CPU."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiles else flex_attention


def _sdpa(q_BHSD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, documents: Documents | None) -> Tensor:
    mask = None if documents is None else documents.mask
    shares = q_BHSD.shape[1] != k_BKSD.shape[1]
    return F.scaled_dot_product_attention(q_BHSD, k_BKSD, v_BKSD, mask, is_causal=documents is None, enable_gqa=shares)


KERNELS: dict[Kernel, Callable[[Tensor, Tensor, Tensor, Documents], Tensor]] = {
    "varlen": _varlen,
    "flex": _flex,
    "sdpa": _sdpa,
}
