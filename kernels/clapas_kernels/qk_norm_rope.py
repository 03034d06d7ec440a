"""Qwen3's queries and keys: RMSNorm of each head, then rotary positions, in one launch each way.

    n = x / sqrt(mean(x^2) + eps) over a head;   y = turn(n * weight)       (see `rms_norm` and `rope`)

Queries and keys have a weight each, of size D, that all their heads share. Backward, with u = turn back(dy),
r = 1 / sqrt(mean(x^2) + eps) and g = u * weight:

    dx = r (g - n mean(g n));   dweight = sum of u n over tokens and heads

In fp32, or fp64 for fp64, and rounded once: the normalised heads never reach memory. Only the projections' outputs are
saved. The backward pass deals tokens to `PROGRAMS_PER_MULTIPROCESSOR` programs a multiprocessor, each for the same few
heads of every token it takes; each keeps its sums of u n and stores them once, and a second, small kernel adds those of
all programs in a fixed order. No atomics: two runs are bit-equal.

Traffic, bf16, T tokens, in bytes: forward 4 T (H + K) D and the angles, 2 T D; backward 6 T (H + K) D and the angles,
and 8 * 2 D a program for partial sums. At T = 16,384, H = 32, K = 8, D = 128: forward 335.5 + 4.2 MB,
backward 503.3 + 4.2, and 2.2 for the 1,055 programs of an H100.
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
from clapas_kernels.rms_norm import norm_gradients, normalise, rms_norm
from clapas_kernels.rope import packed_like, rotate, turned
from clapas_kernels.rows import sum_rows, wide, wide_dtype
from clapas_kernels.target import target_of

PROGRAMS_PER_MULTIPROCESSOR = 8
"""Of 128 threads: half of what a multiprocessor holds."""


def qk_norm_rope(
    q_BSHD: Tensor, k_BSKD: Tensor, q_weight_D: Tensor, k_weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`rope` of the heads' `rms_norm`, (B, H, S, D) and (B, K, S, D).

    q_BSHD, k_BSKD: (B, S, heads, D), any strides, D even. q_weight_D, k_weight_D: (D,), of one dtype. cos, sin: of the
    angles, (B or 1, S, 1, D/2); they have no gradient. The results' memory is as `rope`'s.
    """
    if runs_triton(q_BSHD):
        q_BSHD, k_BSKD = _qk_norm_rope(q_BSHD, k_BSKD, q_weight_D, k_weight_D, cos, sin, eps)
        return q_BSHD.transpose(1, 2), k_BSKD.transpose(1, 2)
    return rotate(rms_norm(q_BSHD, q_weight_D, eps), cos, sin), rotate(rms_norm(k_BSKD, k_weight_D, eps), cos, sin)


def packed_qk_norm_rope(
    qkv_BSF: Tensor,
    q_weight_D: Tensor,
    k_weight_D: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    heads: int,
    shared: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`qk_norm_rope` of a packed projection, and its values; each (B, its heads, S, D).

    qkv_BSF: (B, S, F = (H + 2 K) D), queries, keys, values. heads: H. shared: K, the key-value heads.
    """
    if runs_triton(qkv_BSF):
        parts = _packed_qk_norm_rope(qkv_BSF, q_weight_D, k_weight_D, cos, sin, eps, heads, shared)
        return tuple(x.transpose(1, 2) for x in parts)  # pyright: ignore[reportReturnType] three
    q_BSHD, k_BSKD, v_BSKD = unpacked(qkv_BSF, heads, shared)
    return *qk_norm_rope(q_BSHD, k_BSKD, q_weight_D, k_weight_D, cos, sin, eps), v_BSKD.transpose(1, 2)


# The kernels


@jit
def _forward(
    Q, K, V, Q_OUT, K_OUT, V_OUT, COS, SIN, q_batch, q_token, q_head, k_batch, k_token, k_head,
    v_batch, v_token, v_head, q_out, k_out, v_out, angle_batch, length, Q_WEIGHT, K_WEIGHT, eps,
    H: tl.constexpr, SHARED: tl.constexpr, D: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr,
    ALIGNMENT: tl.constexpr, COPIES: tl.constexpr,
):  # fmt: skip
    tiles: tl.constexpr = (H + HEADS - 1) // HEADS + (SHARED + HEADS - 1) // HEADS * (2 if COPIES else 1)
    program = tl.program_id(0)
    row, batch, token = place_of(program // tiles, length)
    is_query, is_value, first, count = part_of(program % tiles, H, SHARED, HEADS)
    is_head = first + tl.arange(0, HEADS) < count
    at = heads_at(
        Q, K, V, batch, token, first, is_query, is_value, q_batch, q_token, q_head, k_batch, k_token, k_head,
        v_batch, v_token, v_head, HEADS, ALIGNMENT,
    )  # fmt: skip
    left, right = load_pairs(at, is_head, D, HALF)
    scale = tl.rsqrt((tl.sum(left * left, 1) + tl.sum(right * right, 1)) / D + eps)[:, None]
    weights = _aligned(tl.where(is_query, Q_WEIGHT, K_WEIGHT), ALIGNMENT)
    left_weight, right_weight = load_pairs(weights + tl.arange(0, 1), tl.arange(0, 1) == 0, D, HALF)
    cos, sin = angles_at(COS, SIN, batch, token, angle_batch, D, HALF)
    if COPIES:
        scale = tl.where(is_value, 1.0, scale)
        left_weight, right_weight = tl.where(is_value, 1.0, left_weight), tl.where(is_value, 1.0, right_weight)
        cos, sin = tl.where(is_value, 1.0, cos), tl.where(is_value, 0.0, sin)
    left, right = left * scale * left_weight, right * scale * right_weight
    out: tl.constexpr = D // ALIGNMENT
    at = heads_at(
        Q_OUT, K_OUT, V_OUT, 0, row, first, is_query, is_value, 0, q_out, out, 0, k_out, out, 0, v_out, out,
        HEADS, ALIGNMENT,
    )  # fmt: skip
    store_pairs(at, is_head, left * cos - right * sin, right * cos + left * sin, D, HALF)


@jit
def _aligned(POINTER, ALIGNMENT: tl.constexpr):
    """The pointer, of which the compiler is told that it divides by a row's unit."""
    return tl.multiple_of(POINTER, ALIGNMENT * (POINTER.dtype.element_ty.primitive_bitwidth // 8))


@jit
def _backward(
    Q, K, V, Q_OUT, K_OUT, V_OUT, COS, SIN, q_batch, q_token, q_head, k_batch, k_token, k_head,
    v_batch, v_token, v_head, q_out, k_out, v_out, angle_batch, length, Q_WEIGHT, K_WEIGHT, eps,
    Q_IN, K_IN, q_in_batch, q_in_token, q_in_head, k_in_batch, k_in_token, k_in_head, PARTIAL, tokens,
    H: tl.constexpr, SHARED: tl.constexpr, D: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr,
    ALIGNMENT: tl.constexpr, COPIES: tl.constexpr,
):  # fmt: skip
    """Q, K, V: gradients of the results; Q_OUT, K_OUT, V_OUT: of the inputs; Q_IN, K_IN: the inputs.

    A lane holds one element of a head here, not a pair, and loads its partner's gradient beside its own, from the
    cache: with pairs, twice as much would have to stand in registers. Nor is the next token loaded ahead: that takes
    registers, too, and without it half of all threads are resident, on AMD all.
    """
    tiles: tl.constexpr = (H + HEADS - 1) // HEADS + (SHARED + HEADS - 1) // HEADS * (2 if COPIES else 1)
    out: tl.constexpr = D // ALIGNMENT
    program = tl.program_id(0)
    is_query, is_value, first, count = part_of(program % tiles, H, SHARED, HEADS)
    lanes = tl.arange(0, 2 * HALF)[None, :]
    is_left = lanes < D // 2
    partners = tl.where(is_left, lanes + D // 2, lanes - D // 2)
    partners = tl.max_contiguous(tl.multiple_of(partners, (1, ALIGNMENT)), (1, ALIGNMENT))
    tile = tl.zeros((HEADS, 1), tl.int32)  # for loads of one row as wide as those of a tile
    pairs = tl.where(is_left, lanes, lanes - D // 2) + tile
    pairs = tl.max_contiguous(tl.multiple_of(pairs, (1, ALIGNMENT)), (1, ALIGNMENT))
    is_there = (first + tl.arange(0, HEADS) < count)[:, None] & (lanes < D)
    is_normed = is_there & ~is_value  # a value's gradient is turned by no angle and scaled by 1: copied
    weights = _aligned(tl.where(is_query, Q_WEIGHT, K_WEIGHT), ALIGNMENT)
    grad_weight = tl.zeros((HEADS, 2 * HALF), PARTIAL.dtype.element_ty)
    for taken in range(program // tiles, tokens, tl.num_programs(0) // tiles):
        row, batch, token = place_of(taken, length)
        at = heads_at(
            Q, K, V, batch, token, first, is_query, is_value, q_batch, q_token, q_head, k_batch, k_token, k_head,
            v_batch, v_token, v_head, HEADS, ALIGNMENT,
        )  # fmt: skip
        grad = wide(tl.load(at[:, None] + lanes, mask=is_there, other=0.0))
        partner = wide(tl.load(at[:, None] + partners, mask=is_normed, other=0.0))
        at = heads_at(
            Q_IN, K_IN, K_IN, batch, token, first, is_query, is_value, q_in_batch, q_in_token, q_in_head,
            k_in_batch, k_in_token, k_in_head, k_in_batch, k_in_token, k_in_head, HEADS, ALIGNMENT,
        )  # fmt: skip
        x = wide(tl.load(at[:, None] + lanes, mask=is_normed, other=0.0))
        angles = (batch * angle_batch + token) * (D // 2) + pairs
        cos = wide(tl.load(COS + angles, mask=is_normed, other=1.0))
        sin = wide(tl.load(SIN + angles, mask=is_normed, other=0.0))
        turned_back = grad * cos + partner * tl.where(is_left, sin, -sin)
        scale = tl.rsqrt(tl.sum(x * x, 1) / D + eps)[:, None]
        if COPIES:
            scale = tl.where(is_value, 1.0, scale)
        normed = x * scale
        grad_weight += turned_back * normed
        turned_back *= wide(tl.load(weights + lanes + tile, mask=is_normed, other=1.0))
        grad_x = (turned_back - normed * (tl.sum(turned_back * normed, 1) / D)[:, None]) * scale
        at = heads_at(
            Q_OUT, K_OUT, V_OUT, 0, row, first, is_query, is_value, 0, q_out, out, 0, k_out, out, 0, v_out, out,
            HEADS, ALIGNMENT,
        )  # fmt: skip
        tl.store(at[:, None] + lanes, grad_x.to(Q_OUT.dtype.element_ty), mask=is_there)
    # one row of a tile, for the sake of wide stores
    sums = tl.expand_dims(tl.sum(grad_weight, 0), 0) + tile
    places = PARTIAL + program.to(tl.int64) * (2 * D) + lanes + tile
    is_first = (tl.arange(0, HEADS) == 0)[:, None] & (lanes < D)
    tl.store(places, tl.where(is_query, sums, 0.0), mask=is_first)
    tl.store(places + D, tl.where(is_query, 0.0, sums), mask=is_first)


def _launch_forward(
    read: list[Tensor],
    written: list[Tensor],
    q_weight_D: Tensor,
    k_weight_D: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
) -> None:
    if any(x.numel() for x in written):
        named, tiles, tokens = arguments([as_heads(x) for x in read], written, cos, sin)
        weights = {"Q_WEIGHT": q_weight_D.contiguous(), "K_WEIGHT": k_weight_D.contiguous()}
        _forward[(tokens * tiles,)](**named, **weights, eps=eps)


def _launch_backward(
    grads: list[Tensor], written: list[Tensor], q_BSHD: Tensor, k_BSKD: Tensor,
    q_weight_D: Tensor, k_weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float,
) -> Tensor:  # fmt: skip
    """Stores the inputs' gradients, and returns those of both weights, (2, D)."""
    if not any(x.numel() for x in written):
        return torch.zeros_like(q_weight_D).expand(2, -1).clone()
    q_BSHD, k_BSKD = as_heads(q_BSHD), as_heads(k_BSKD)
    named, tiles, tokens = arguments([as_heads(x) for x in grads], written, cos, sin, also=[q_BSHD, k_BSKD], halves=1)
    wanted = PROGRAMS_PER_MULTIPROCESSOR * target_of(q_BSHD.device).multiprocessors
    programs = tiles * min(tokens, max(1, wanted // tiles))
    partial = q_BSHD.new_empty(programs, 2 * q_BSHD.shape[-1], dtype=wide_dtype(q_BSHD.dtype))
    _backward[(programs,)](
        **named, Q_WEIGHT=q_weight_D.contiguous(), K_WEIGHT=k_weight_D.contiguous(), eps=eps, PARTIAL=partial,
        tokens=tokens,
    )  # fmt: skip
    return sum_rows(partial, q_weight_D.dtype).view(2, -1)


def forward_triton(
    q_BSHD: Tensor, k_BSKD: Tensor, q_weight_D: Tensor, k_weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`qk_norm_rope` by its kernel, token-major."""
    q_out, k_out = q_BSHD.new_empty(q_BSHD.shape), k_BSKD.new_empty(k_BSKD.shape)
    _launch_forward([q_BSHD, k_BSKD], [q_out, k_out], q_weight_D, k_weight_D, cos, sin, eps)
    return q_out, k_out


def packed_forward_triton(
    qkv_BSF: Tensor,
    q_weight_D: Tensor,
    k_weight_D: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float,
    heads: int,
    shared: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`packed_qk_norm_rope` by its kernel, token-major."""
    read = unpacked(qkv_BSF, heads, shared)
    q, k, v = (x.new_empty(x.shape) for x in read)
    _launch_forward(list(read), [q, k, v], q_weight_D, k_weight_D, cos, sin, eps)
    return q, k, v


def backward_triton(
    grad_q_BSHD: Tensor, grad_k_BSKD: Tensor, q_BSHD: Tensor, k_BSKD: Tensor, q_weight_D: Tensor, k_weight_D: Tensor,
    cos: Tensor, sin: Tensor, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of q and k, and of both weights, (2, D)."""
    written = [x.new_empty(x.shape) for x in (q_BSHD, k_BSKD)]
    grads = [grad_q_BSHD, grad_k_BSKD]
    weights = _launch_backward(grads, written, q_BSHD, k_BSKD, q_weight_D, k_weight_D, cos, sin, eps)
    return written[0], written[1], weights


def packed_backward_triton(
    grad_q_BSHD: Tensor, grad_k_BSKD: Tensor, grad_v_BSKD: Tensor, qkv_BSF: Tensor, q_weight_D: Tensor,
    k_weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of the packed projection, and of both weights, (2, D)."""
    heads, shared = grad_q_BSHD.shape[2], grad_k_BSKD.shape[2]
    grads = [grad_q_BSHD, grad_k_BSKD, grad_v_BSKD]
    grad_qkv_BSF = packed_like(grads)
    q_BSHD, k_BSKD, _ = unpacked(qkv_BSF, heads, shared)
    written = list(unpacked(grad_qkv_BSF, heads, shared))
    weights = _launch_backward(grads, written, q_BSHD, k_BSKD, q_weight_D, k_weight_D, cos, sin, eps)
    return grad_qkv_BSF, weights


# The operators


def _part_reference(x_BSHD: Tensor, weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    return turned(normalise(x_BSHD, weight_D, eps)[0], cos, sin)


def _part_gradients(
    grad_BSHD: Tensor, x_BSHD: Tensor, weight_D: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    scale = normalise(x_BSHD, weight_D, eps)[1]
    grad_x_BSHD, grad_weight_D = norm_gradients(turned(grad_BSHD, cos, -sin), x_BSHD, weight_D, scale)
    assert grad_weight_D is not None
    return grad_x_BSHD, grad_weight_D


def _reference(
    q: Tensor, k: Tensor, q_weight: Tensor, k_weight: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    return _part_reference(q, q_weight, cos, sin, eps), _part_reference(k, k_weight, cos, sin, eps)


def _backward_reference(
    grad_q: Tensor, grad_k: Tensor, q: Tensor, k: Tensor, q_weight: Tensor, k_weight: Tensor,
    cos: Tensor, sin: Tensor, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    grad_q, grad_q_weight = _part_gradients(grad_q, q, q_weight, cos, sin, eps)
    grad_k, grad_k_weight = _part_gradients(grad_k, k, k_weight, cos, sin, eps)
    return grad_q.contiguous(), grad_k.contiguous(), torch.stack([grad_q_weight, grad_k_weight])


def _packed_reference(
    qkv: Tensor, q_weight: Tensor, k_weight: Tensor, cos: Tensor, sin: Tensor, eps: float, heads: int, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = unpacked(qkv, heads, shared)
    return *_reference(q, k, q_weight, k_weight, cos, sin, eps), v.clone(memory_format=torch.contiguous_format)


def _packed_backward_reference(
    grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, qkv: Tensor, q_weight: Tensor, k_weight: Tensor,
    cos: Tensor, sin: Tensor, eps: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, k, _ = unpacked(qkv, grad_q.shape[2], grad_k.shape[2])
    grad_q, grad_k, weights = _backward_reference(grad_q, grad_k, q, k, q_weight, k_weight, cos, sin, eps)
    return torch.cat([grad_q, grad_k, grad_v], 2).flatten(2), weights


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _packed_setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.eps, _, _ = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx, grad_q: Tensor, grad_k: Tensor):
    grad_q, grad_k, weights = _qk_norm_rope_backward(grad_q, grad_k, *ctx.saved_tensors, ctx.eps)
    return grad_q, grad_k, *weights.unbind(), None, None, None


def _packed_autograd(ctx, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor):
    grad_qkv, weights = _packed_qk_norm_rope_backward(grad_q, grad_k, grad_v, *ctx.saved_tensors, ctx.eps)
    return grad_qkv, *weights.unbind(), None, None, None, None, None


def _backward_fake(
    grad_q: Tensor, grad_k: Tensor, q: Tensor, k: Tensor, q_weight: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), q_weight.new_empty(2, *q_weight.shape)


_OTHERS = "Tensor q_weight, Tensor k_weight, Tensor cos, Tensor sin, float eps"
_qk_norm_rope_backward = register(
    f"qk_norm_rope_backward(Tensor grad_q, Tensor grad_k, Tensor q, Tensor k, {_OTHERS}) -> (Tensor, Tensor, Tensor)",
    reference=_backward_reference,
    triton=backward_triton,
    fake=_backward_fake,
)
_qk_norm_rope = register(
    f"qk_norm_rope(Tensor q, Tensor k, {_OTHERS}) -> (Tensor, Tensor)",
    reference=_reference,
    triton=forward_triton,
    fake=lambda q, k, *_: (q.new_empty(q.shape), k.new_empty(k.shape)),
    backward=_autograd,
    setup_context=_setup_context,
)
_packed_qk_norm_rope_backward = register(
    f"packed_qk_norm_rope_backward(Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor qkv, {_OTHERS})"
    " -> (Tensor, Tensor)",
    reference=_packed_backward_reference,
    triton=packed_backward_triton,
    fake=lambda q, k, v, qkv, q_weight, *_: (packed_like([q, k, v]), q_weight.new_empty(2, *q_weight.shape)),
)
_packed_qk_norm_rope = register(
    f"packed_qk_norm_rope(Tensor qkv, {_OTHERS}, int heads, int shared) -> (Tensor, Tensor, Tensor)",
    reference=_packed_reference,
    triton=packed_forward_triton,
    fake=lambda qkv, *others: tuple(x.new_empty(x.shape) for x in unpacked(qkv, *others[-2:])),
    backward=_packed_autograd,
    setup_context=_packed_setup_context,
)
