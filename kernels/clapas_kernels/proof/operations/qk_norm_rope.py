"""RMSNorm of queries' and keys' heads and rotary positions, apart and packed with the values."""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.qk_norm_rope import backward_triton, forward_triton, packed_backward_triton, packed_forward_triton

HEADS = [{"heads": 32, "shared": 8, "head_dim": 128}, {"heads": 16, "shared": 8, "head_dim": 128}]
"""Of Qwen3-8B and Qwen3-0.6B."""
SHAPES = [{"tokens": 16} | heads for heads in HEADS]
BACKWARD_SHAPES = [{"tokens": 62} | heads for heads in HEADS]
"""Enough tokens that the partial sums of 8 programs are the small part that they are in training."""
BF16 = torch.bfloat16.itemsize
EPS = 1e-6


def weights_and_angles(tokens: int, head_dim: int) -> list[Tensor]:
    """Of queries and of keys; cosines and sines."""
    return [*(random(head_dim) for _ in range(2)), *(random(1, tokens, 1, head_dim // 2) for _ in range(2))]


@case("qk_norm_rope", "forward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def forward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """All heads read and written, D / 2 cosines and sines a token, two weights: (2 (H + K) + 1) T D + 2 D elements.

    At T = 16, H = 32, K = 8, D = 128: 332,288 bytes.
    """
    q, k = random(1, tokens, heads, head_dim), random(1, tokens, shared, head_dim)
    others = weights_and_angles(tokens, head_dim)
    minimal = ((2 * (heads + shared) + 1) * tokens + 2) * head_dim * BF16
    return Launch(lambda: forward_triton(q, k, *others, eps=EPS), (q, k, *others), minimal)


@case("qk_norm_rope", "backward", BACKWARD_SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5, multiprocessors=1)
def backward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """Gradients and inputs read, gradients written: (3 (H + K) + 1) T D + 4 D elements. Beside them the
    programs' partial sums, fp32, are written and read: 16 D bytes each, of 8 programs or somewhat fewer.
    """
    heads_of_both = [random(1, tokens, n, head_dim) for n in (heads, shared, heads, shared)]
    inputs = [*heads_of_both, *weights_and_angles(tokens, head_dim)]
    minimal = ((3 * (heads + shared) + 1) * tokens + 4) * head_dim * BF16
    return Launch(lambda: backward_triton(*inputs, eps=EPS), inputs, minimal)


@case("packed_qk_norm_rope", "forward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def packed_forward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """The values come along: (2 (H + 2 K) + 1) T D + 2 D elements."""
    qkv = random(1, tokens, (heads + 2 * shared) * head_dim)
    others = weights_and_angles(tokens, head_dim)
    minimal = ((2 * (heads + 2 * shared) + 1) * tokens + 2) * head_dim * BF16
    return Launch(
        lambda: packed_forward_triton(qkv, *others, eps=EPS, heads=heads, shared=shared), (qkv, *others), minimal
    )


@case("packed_qk_norm_rope", "backward", BACKWARD_SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5, multiprocessors=1)
def packed_backward(tokens: int, heads: int, shared: int, head_dim: int) -> Launch:
    """Values' gradients are copied: (3 (H + K) + 2 K + 1) T D + 4 D elements; and the partial sums."""
    grads = [random(1, tokens, n, head_dim) for n in (heads, shared, shared)]
    qkv = random(1, tokens, (heads + 2 * shared) * head_dim)
    inputs = [*grads, qkv, *weights_and_angles(tokens, head_dim)]
    minimal = ((3 * heads + 5 * shared + 1) * tokens + 4) * head_dim * BF16
    return Launch(lambda: packed_backward_triton(*inputs, eps=EPS), inputs, minimal)
