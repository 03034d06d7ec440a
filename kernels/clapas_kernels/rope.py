"""Rotary positions (Su et al., 2021, arXiv:2104.09864), in Hugging Face's layout: halves, not neighbours.

    y_i = x_i cos_i - x_{i + D/2} sin_i;   y_{i + D/2} = x_{i + D/2} cos_i + x_i sin_i;    i < D/2

The gradient turns backwards: the same with -sin. The kernel computes in fp32, or fp64 for fp64, and rounds once; the
reference, which computes in the tensors' dtype, rounds twice.

One launch reads queries and keys where they lie, token-major, head-major or in the packed projection, and writes each
token's heads side by side: what attention kernels read (any strides) and what the projection's gradient wants. So
nothing is copied to be transposed. From a packed projection the values come along, and the gradient is packed again.

Traffic, bf16, T tokens, in bytes: 4 T (H + K) D, the angles (T D elements) and, packed, 4 T K D for the values.
At T = 16,384, H = 32, K = 8, D = 128: 335.5 MB of heads and 4.2 MB of angles.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.dispatch import register, runs_triton
from clapas_kernels.heads import (
    angles_at,
    arguments,
    as_heads,
    heads_at,
    load_pairs,
    part_of,
    place_of,
    store_pairs,
    unpacked,
)
from clapas_kernels.language import jit, tl


def rope(q_BSHD: Tensor, k_BSKD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys turned by their positions' angles, (B, H, S, D) and (B, K, S, D).

    q_BSHD, k_BSKD: (B, S, heads, D), any strides, D even. cos, sin: of the angles, (B or 1, S, 1, D/2); they have no
    gradient. The results' memory is head-major from the reference and token-major from the kernel.
    """
    if runs_triton(q_BSHD):
        q_BSHD, k_BSKD = _rope(q_BSHD, k_BSKD, cos, sin, True)
        return q_BSHD.transpose(1, 2), k_BSKD.transpose(1, 2)
    return rotate(q_BSHD, cos, sin), rotate(k_BSKD, cos, sin)


def packed_rope(qkv_BSF: Tensor, cos: Tensor, sin: Tensor, heads: int, shared: int) -> tuple[Tensor, Tensor, Tensor]:
    """`rope` of a packed projection: queries and keys turned, and the values; each (B, its heads, S, D).

    qkv_BSF: (B, S, F = (H + 2 K) D), queries, keys, values. heads: H. shared: K, the key-value heads.
    """
    if runs_triton(qkv_BSF):
        return tuple(x.transpose(1, 2) for x in _packed_rope(qkv_BSF, cos, sin, heads, shared))  # pyright: ignore[reportReturnType] three
    _, _, v_BSKD = unpacked(qkv_BSF, heads, shared)
    heads_BSHD = qkv_BSF.unflatten(-1, (heads + 2 * shared, v_BSKD.shape[-1]))
    turned_BHSD = rotate(heads_BSHD[:, :, : heads + shared], cos, sin)  # queries and keys at once
    return turned_BHSD[:, :heads], turned_BHSD[:, heads:], v_BSKD.transpose(1, 2)


# The reference


def rotate(x_BSHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The reference of `rope` for one tensor: (B, H, S, D), contiguous."""
    if not torch.is_grad_enabled():  # an autograd function costs more than what it computes of one token
        return _turned_heads(x_BSHD, cos, sin)
    return _Rotate.apply(x_BSHD, cos, sin)  # pyright: ignore[reportReturnType] autograd.Function is untyped


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The formula, of any leading dimensions."""
    left, right = x.chunk(2, -1)
    halves = torch.addcmul(left * cos, right, sin, value=-1), torch.addcmul(right * cos, left, sin)
    return torch.cat(halves, -1)


def _turned_heads(x_BSHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # the compiler has no temporaries to save, and follows no `out=` into views
        return turned(x_BSHD, cos, sin).transpose(1, 2).contiguous()
    batch, length, heads, head_dim = x_BSHD.shape
    turned_BHSD = x_BSHD.new_empty(batch, heads, length, head_dim)
    _turn(x_BSHD, cos, sin, out=turned_BHSD.transpose(1, 2))
    return turned_BHSD


class _Rotate(torch.autograd.Function):
    """By hand because autograd would hold and copy six temporaries the size of x."""

    @staticmethod
    def forward(ctx, x_BSHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned_heads(x_BSHD, cos, sin)

    @staticmethod
    def backward(ctx, grad_BHSD: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return turned(grad_BHSD.transpose(1, 2), cos, -sin), None, None
        batch, heads, length, head_dim = grad_BHSD.shape
        turned_BSHD = grad_BHSD.new_empty(batch, length, heads, head_dim)
        _turn(grad_BHSD.transpose(1, 2), cos, -sin, out=turned_BSHD)
        return turned_BSHD, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    (left, right), (out_left, out_right) = x.chunk(2, -1), out.chunk(2, -1)
    torch.mul(left, cos, out=out_left).addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=out_right).addcmul_(left, sin)


# The kernel


@jit
def _rope_kernel(
    Q, K, V, Q_OUT, K_OUT, V_OUT, COS, SIN, q_batch, q_token, q_head, k_batch, k_token, k_head,
    v_batch, v_token, v_head, q_out, k_out, v_out, angle_batch, length,
    H: tl.constexpr, SHARED: tl.constexpr, D: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr,
    ALIGNMENT: tl.constexpr, COPIES: tl.constexpr, FORWARD: tl.constexpr,
):  # fmt: skip
    tiles: tl.constexpr = (H + HEADS - 1) // HEADS + (SHARED + HEADS - 1) // HEADS * (2 if COPIES else 1)
    program = tl.program_id(0)
    row, batch, token = place_of(program // tiles, length)
    is_query, is_value, first, count = part_of(program % tiles, H, SHARED, HEADS)
    is_head = first + tl.arange(0, HEADS) < count
    cos, sin = angles_at(COS, SIN, batch, token, angle_batch, D, HALF)
    if not FORWARD:
        sin = -sin
    if COPIES:
        cos, sin = tl.where(is_value, 1.0, cos), tl.where(is_value, 0.0, sin)
    at = heads_at(
        Q, K, V, batch, token, first, is_query, is_value, q_batch, q_token, q_head, k_batch, k_token, k_head,
        v_batch, v_token, v_head, HEADS, ALIGNMENT,
    )  # fmt: skip
    left, right = load_pairs(at, is_head, D, HALF)
    out: tl.constexpr = D // ALIGNMENT
    at = heads_at(
        Q_OUT, K_OUT, V_OUT, 0, row, first, is_query, is_value, 0, q_out, out, 0, k_out, out, 0, v_out, out,
        HEADS, ALIGNMENT,
    )  # fmt: skip
    store_pairs(at, is_head, left * cos - right * sin, right * cos + left * sin, D, HALF)


def _launch(read: list[Tensor], written: list[Tensor], cos: Tensor, sin: Tensor, forward: bool) -> None:
    if any(x.numel() for x in written):
        named, tiles, tokens = arguments([as_heads(x) for x in read], written, cos, sin)
        _rope_kernel[(tokens * tiles,)](**named, FORWARD=forward)


def rope_triton(q_BSHD: Tensor, k_BSKD: Tensor, cos: Tensor, sin: Tensor, forward: bool) -> tuple[Tensor, Tensor]:
    """`rope` by its kernel, token-major; forward: False for its gradient."""
    q_out, k_out = q_BSHD.new_empty(q_BSHD.shape), k_BSKD.new_empty(k_BSKD.shape)
    _launch([q_BSHD, k_BSKD], [q_out, k_out], cos, sin, forward)
    return q_out, k_out


def packed_rope_triton(
    qkv_BSF: Tensor, cos: Tensor, sin: Tensor, heads: int, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`packed_rope` by the kernel, token-major."""
    read = unpacked(qkv_BSF, heads, shared)
    q, k, v = (x.new_empty(x.shape) for x in read)
    _launch(list(read), [q, k, v], cos, sin, forward=True)
    return q, k, v


def packed_rope_backward_triton(
    grad_q_BSHD: Tensor, grad_k_BSKD: Tensor, grad_v_BSKD: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """The gradient of the packed projection, from those of its parts."""
    grads = [grad_q_BSHD, grad_k_BSKD, grad_v_BSKD]
    grad_qkv_BSF = packed_like(grads)
    parts = unpacked(grad_qkv_BSF, grad_q_BSHD.shape[2], grad_k_BSKD.shape[2])
    _launch(grads, list(parts), cos, sin, forward=False)
    return grad_qkv_BSF


def packed_like(parts_BSHD: list[Tensor]) -> Tensor:
    """An empty tensor for all heads of all parts, (B, S, F)."""
    batch, length, _, head_dim = parts_BSHD[0].shape
    return parts_BSHD[0].new_empty(batch, length, sum(x.shape[2] for x in parts_BSHD) * head_dim)


# The operators


def _reference(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, forward: bool) -> tuple[Tensor, Tensor]:
    sin = sin if forward else -sin
    return turned(q, cos, sin), turned(k, cos, sin)


def _packed_reference(
    qkv_BSF: Tensor, cos: Tensor, sin: Tensor, heads: int, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = unpacked(qkv_BSF, heads, shared)
    return turned(q, cos, sin), turned(k, cos, sin), v.clone(memory_format=torch.contiguous_format)


def _packed_backward_reference(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.cat([turned(q, cos, -sin), turned(k, cos, -sin), v], 2).flatten(2)


def _save_angles(ctx, inputs, output) -> None:
    ctx.forward = inputs[4]
    ctx.save_for_backward(*inputs[2:4])


def _save_packed_angles(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:3])


_rope = register(
    "rope(Tensor q, Tensor k, Tensor cos, Tensor sin, bool forward) -> (Tensor, Tensor)",
    reference=_reference,
    triton=rope_triton,
    fake=lambda q, k, cos, sin, forward: (q.new_empty(q.shape), k.new_empty(k.shape)),
    backward=lambda ctx, q, k: (*_rope(q, k, *ctx.saved_tensors, not ctx.forward), None, None, None),
    setup_context=_save_angles,
)
_packed_rope_backward = register(
    "packed_rope_backward(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin) -> Tensor",
    reference=_packed_backward_reference,
    triton=packed_rope_backward_triton,
    fake=lambda q, k, v, cos, sin: packed_like([q, k, v]),
)
_packed_rope = register(
    "packed_rope(Tensor qkv, Tensor cos, Tensor sin, int heads, int shared) -> (Tensor, Tensor, Tensor)",
    reference=_packed_reference,
    triton=packed_rope_triton,
    fake=lambda qkv, cos, sin, heads, shared: tuple(x.new_empty(x.shape) for x in unpacked(qkv, heads, shared)),
    backward=lambda ctx, q, k, v: (_packed_rope_backward(q, k, v, *ctx.saved_tensors), None, None, None, None),
    setup_context=_save_packed_angles,
)
