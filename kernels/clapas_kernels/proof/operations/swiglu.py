"""SwiGLU: two tensors, one packed tensor, and the backward pass that makes the product again."""

from __future__ import annotations

import torch

from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.swiglu import (
    backward_triton,
    forward_triton,
    packed_backward_triton,
    packed_forward_triton,
    remaking_backward_triton,
)

SHAPES = [{"tokens": 16, "intermediate": 5632}, {"tokens": 16, "intermediate": 14336}]
BF16 = torch.bfloat16.itemsize


@case("swiglu", "forward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5)
def forward(tokens: int, intermediate: int) -> Launch:
    """Reads gate and up, writes y: 3 T F elements. At T = 16, F = 5632: 540,672 bytes."""
    gate, up = random(tokens, intermediate), random(tokens, intermediate)
    return Launch(lambda: forward_triton(gate, up), (gate, up), 3 * tokens * intermediate * BF16)


@case("swiglu", "backward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5)
def backward(tokens: int, intermediate: int) -> Launch:
    """Reads dy, gate and up, writes dgate and dup: 5 T F elements."""
    inputs = [random(tokens, intermediate) for _ in range(3)]
    return Launch(lambda: backward_triton(*inputs), inputs, 5 * tokens * intermediate * BF16)


@case("packed_swiglu", "forward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5)
def packed_forward(tokens: int, intermediate: int) -> Launch:
    """As `swiglu`: 3 T F elements."""
    gate_up = random(tokens, 2 * intermediate)
    return Launch(lambda: packed_forward_triton(gate_up), (gate_up,), 3 * tokens * intermediate * BF16)


@case("packed_swiglu", "backward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5)
def packed_backward(tokens: int, intermediate: int) -> Launch:
    """As `swiglu`: 5 T F elements, and no `cat`."""
    grad, gate_up = random(tokens, intermediate), random(tokens, 2 * intermediate)
    return Launch(lambda: packed_backward_triton(grad, gate_up), (grad, gate_up), 5 * tokens * intermediate * BF16)


@case("swiglu_linear", "backward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5)
def remaking_backward(tokens: int, intermediate: int) -> Launch:
    """What stands between its matrix products: `swiglu` backward, and y written again: 6 T F elements."""
    inputs = [random(tokens, intermediate) for _ in range(3)]
    return Launch(lambda: remaking_backward_triton(*inputs), inputs, 6 * tokens * intermediate * BF16)
