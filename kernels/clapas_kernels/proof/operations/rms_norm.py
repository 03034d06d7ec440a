"""The cases of `clapas_kernels.rms_norm`: T rows of E elements, in bf16; the weights are bf16 too.

16,384 rows on the 132 multiprocessors of an H100 are 62 rows a program; here 248 rows on 2 multiprocessors are as many.
"""

from __future__ import annotations

from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.rms_norm import add_forward_triton, backward_triton, forward_triton

SHAPES = [{"rows": 248, "hidden": 2048}, {"rows": 248, "hidden": 4096}]
EPS = 1e-6
BF16 = 2
"""Bytes."""


@case("rms_norm", "forward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5, wide_at_least=0.8)
def forward(rows: int, hidden: int) -> Launch:
    """Reads x and the weight, writes y."""
    x, weight = random(rows, hidden), random(hidden)
    return Launch(lambda: forward_triton(x, weight, EPS), [x, weight], BF16 * (2 * rows * hidden + hidden))


@case("rms_norm", "backward", SHAPES, 1.05, occupancy_at_least=0.5, wide_at_least=0.8, multiprocessors=2)
def backward(rows: int, hidden: int) -> Launch:
    """Reads the gradient, x and the weight, writes their two gradients."""
    grad, x, weight = random(rows, hidden), random(rows, hidden), random(hidden)
    minimal = BF16 * (3 * rows * hidden + 2 * hidden)
    return Launch(lambda: backward_triton(grad, x, weight, EPS), [grad, x, weight], minimal)


@case("add_rms_norm", "forward", SHAPES, ratio_at_most=1.00, occupancy_at_least=0.5, wide_at_least=0.8)
def add_forward(rows: int, hidden: int) -> Launch:
    """Reads x, the residual and the weight, writes y and the sum."""
    x, residual, weight = random(rows, hidden), random(rows, hidden), random(hidden)
    minimal = BF16 * (4 * rows * hidden + hidden)
    return Launch(lambda: add_forward_triton(x, residual, weight, EPS), [x, residual, weight], minimal)


@case("add_rms_norm", "backward", SHAPES, 1.05, occupancy_at_least=0.5, wide_at_least=0.8, multiprocessors=2)
def add_backward(rows: int, hidden: int) -> Launch:
    """Reads both gradients, the sum and the weight, writes the gradient of x (the residual's too) and the weight's."""
    grad, grad_sum, total = (random(rows, hidden) for _ in range(3))
    weight = random(hidden)
    minimal = BF16 * (4 * rows * hidden + 2 * hidden)
    inputs = [grad, grad_sum, total, weight]
    return Launch(lambda: backward_triton(grad, total, weight, EPS, grad_sum), inputs, minimal)
