"""RMSNorm, alone and after the residual addition."""

from __future__ import annotations

import torch

from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.rms_norm import add_forward_triton, backward_triton, forward_triton

SHAPES = [{"tokens": 248, "hidden": 2048}, {"tokens": 248, "hidden": 4096}]
NOT_OF_16 = {"tokens": 248, "hidden": 3000}
BF16 = torch.bfloat16.itemsize
EPS = 1e-6


@case("rms_norm", "forward", [*SHAPES, NOT_OF_16], 1.00, occupancy_at_least=0.5, multiprocessors=2)
def rms_norm_forward(tokens: int, hidden: int) -> Launch:
    """Reads x and weight, writes y: 2 T E + E elements. At T = 248, E = 2048: 2,035,712 bytes."""
    x, weight = random(tokens, hidden), random(hidden)
    return Launch(lambda: forward_triton(x, weight, EPS), (x, weight), (2 * tokens + 1) * hidden * BF16)


@case("rms_norm", "backward", [*SHAPES, NOT_OF_16], 1.05, occupancy_at_least=0.5, multiprocessors=2)
def rms_norm_backward(tokens: int, hidden: int) -> Launch:
    """Reads dy, x and weight, writes dx and dweight: 3 T E + 2 E elements; at T = 248, E = 2048: 3,055,616 bytes.

    Beside them 4 programs' partial sums, fp32, are written and read: 4 * 8 E = 65,536 bytes, so 1.021 in all.
    """
    grad, x, weight = random(tokens, hidden), random(tokens, hidden), random(hidden)
    return Launch(lambda: backward_triton(grad, x, weight, EPS), (grad, x, weight), (3 * tokens + 2) * hidden * BF16)


@case("add_rms_norm", "forward", [*SHAPES, NOT_OF_16], 1.00, occupancy_at_least=0.5, multiprocessors=2)
def add_rms_norm_forward(tokens: int, hidden: int) -> Launch:
    """Reads x, residual and weight, writes y and s: 4 T E + E elements."""
    x, residual, weight = random(tokens, hidden), random(tokens, hidden), random(hidden)
    return Launch(
        lambda: add_forward_triton(x, residual, weight, EPS), (x, residual, weight), (4 * tokens + 1) * hidden * BF16
    )


@case(
    "add_rms_norm",
    "backward",
    [*SHAPES, NOT_OF_16],
    1.05,
    occupancy_at_least=0.5,
    multiprocessors=2,
)
def add_rms_norm_backward(tokens: int, hidden: int) -> Launch:
    """Reads dy, ds, s and weight, writes one gradient for both summands, and dweight: 4 T E + 2 E elements."""
    grad, grad_sum, total, weight = *(random(tokens, hidden) for _ in range(3)), random(hidden)
    return Launch(
        lambda: backward_triton(grad, total, weight, EPS, grad_sum),
        (grad, grad_sum, total, weight),
        (4 * tokens + 2) * hidden * BF16,
    )
