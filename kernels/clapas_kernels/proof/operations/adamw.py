"""AdamW's step: all in fp32, parameters and gradient in bf16, all in bf16 with stochastic rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.adamw import step_triton
from clapas_kernels.proof.cases import Launch, case, random

BF16, FP32 = torch.bfloat16, torch.float32
SHAPE = [{"elements": 65_536}]


def launch(elements: int, seed: int | None, *dtypes: torch.dtype) -> Launch:
    """dtypes: of parameter, gradient and both moments."""
    tensors = parameter, grad, exp_avg, exp_avg_sq = [random(elements, dtype=dtype) for dtype in dtypes]
    exp_avg_sq.abs_()
    sizes = [x.dtype.itemsize for x in tensors]
    written: list[Tensor] = [parameter, exp_avg, exp_avg_sq]
    return Launch(
        lambda: step_triton(parameter, grad, exp_avg, exp_avg_sq, 2, 1e-3, 0.9, 0.95, 1e-8, 0.1, seed, 0),
        tensors,
        elements * (2 * sum(sizes) - grad.dtype.itemsize),
        written=written,
    )


@case("adamw_step", "fp32", SHAPE, 1.00, occupancy_at_least=0.5)
def fp32(elements: int) -> Launch:
    """Reads p, g, m, v, writes p, m, v, in fp32: 28 bytes an element. For 65,536: 1,835,008 bytes."""
    return launch(elements, None, FP32, FP32, FP32, FP32)


@case("adamw_step", "bf16 parameters", SHAPE, 1.00, occupancy_at_least=0.375)
def bf16_parameters(elements: int) -> Launch:
    """Of p and g half of that: 22 bytes an element."""
    return launch(elements, 1234, BF16, BF16, FP32, FP32)


@case("adamw_step", "bf16", SHAPE, 1.00, occupancy_at_least=0.375)
def bf16(elements: int) -> Launch:
    """14 bytes an element."""
    return launch(elements, 1234, BF16, BF16, BF16, BF16)
