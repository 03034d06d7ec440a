"""Rotary positions: queries and keys token-major, head-major, and packed with the values."""

from __future__ import annotations

import torch

from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.rope import packed_rope_backward_triton, packed_rope_triton, rope_triton

SHAPES = [
    {"tokens": 16, "heads": 32, "shared": 8, "head_dim": 128},
    {"tokens": 16, "heads": 32, "shared": 4, "head_dim": 64},
    {"tokens": 16, "heads": 15, "shared": 5, "head_dim": 64},
]
"""The heads of Llama-3.1-8B, TinyLlama and SmolLM2-360M."""
BF16 = torch.bfloat16.itemsize


def minimal_bytes(tokens: int, heads: int, shared: int, head_dim: int, copied: int = 0) -> int:
    """All heads read and written, and the angles read: D / 2 cosines and as many sines a token."""
    return (2 * (heads + shared + copied) + 1) * tokens * head_dim * BF16


@case("rope", "forward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def token_major(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """At T = 16, H = 32, K = 8, D = 128: (2 * 40 + 1) * 16 * 128 elements, 331,776 bytes. Backward is the same."""
    q, k = random(1, tokens, heads, head_dim), random(1, tokens, shared, head_dim)
    cos, sin = (random(1, tokens, 1, head_dim // 2) for _ in range(2))
    return Launch(
        lambda: rope_triton(q, k, cos, sin, True), (q, k, cos, sin), minimal_bytes(tokens, heads, shared, head_dim)
    )


@case("rope", "from head-major", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def head_major(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """The same bytes: nothing is copied to be transposed."""
    q, k = random(1, heads, tokens, head_dim), random(1, shared, tokens, head_dim)
    cos, sin = (random(1, tokens, 1, head_dim // 2) for _ in range(2))
    return Launch(
        lambda: rope_triton(q.transpose(1, 2), k.transpose(1, 2), cos, sin, True),
        (q, k, cos, sin),
        minimal_bytes(tokens, heads, shared, head_dim),
    )


@case("packed_rope", "forward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def packed_forward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """Values come along: (2 (H + 2 K) + 1) T D elements."""
    qkv = random(1, tokens, (heads + 2 * shared) * head_dim)
    cos, sin = (random(1, tokens, 1, head_dim // 2) for _ in range(2))
    return Launch(
        lambda: packed_rope_triton(qkv, cos, sin, heads, shared),
        (qkv, cos, sin),
        minimal_bytes(tokens, heads, shared, head_dim, copied=shared),
    )


@case("packed_rope", "backward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def packed_backward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """As forward: three gradients into one packed tensor, without `cat`."""
    grads = [random(1, tokens, n, head_dim) for n in (heads, shared, shared)]
    inputs = [*grads, *(random(1, tokens, 1, head_dim // 2) for _ in range(2))]
    return Launch(
        lambda: packed_rope_backward_triton(*inputs),
        inputs,
        minimal_bytes(tokens, heads, shared, head_dim, copied=shared),
    )
