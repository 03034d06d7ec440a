"""Quantisation to fp8, where there is fp8: with one scale, and with one for each block."""

from __future__ import annotations

import torch

from clapas_kernels.fp8 import BLOCK, quantise_both_triton, quantise_rows_triton, quantise_tiles_triton, quantise_triton
from clapas_kernels.fp8_formats import backward_format, forward_format, why_no_fp8
from clapas_kernels.fp8_fused import add_rms_norm_triton, swiglu_triton
from clapas_kernels.proof.cases import Launch, case, random
from clapas_kernels.target import TARGETS

HAVE_FP8 = [name for name, target in TARGETS.items() if why_no_fp8(target) is None]
SHAPES = [{"tokens": 16, "hidden": 2048}, {"tokens": 16, "hidden": 14336}]
BOTH = [{"tokens": 64, "hidden": 2048}, {"tokens": 128, "hidden": 4096}]
NORMS = [{"tokens": 64, "hidden": 2048}, {"tokens": 64, "hidden": 4096}]
SHAPES_OF_SWIGLU = [{"tokens": 16, "intermediate": 5632}, {"tokens": 16, "intermediate": 14336}]
WEIGHTS = [{"outputs": 128, "inputs": 2048}, {"outputs": 256, "inputs": 4096}]
BF16, FP8, FP32 = torch.bfloat16.itemsize, 1, torch.float32.itemsize


@case("fp8_quantise", "delayed", SHAPES, 1.02, occupancy_at_least=0.5, targets=HAVE_FP8)
def of_an_amax_that_is_known(tokens: int, hidden: int) -> Launch:
    """Reads x, writes q: 3 T E bytes; and amax, scale and its own amax. At T = 16, E = 2048: 98,316 bytes.

    Beside them each program's amax, written and read: 8 bytes for 2,048 numbers, 1.001 in all.
    """
    x, amax = random(tokens, hidden), torch.ones(())
    return Launch(
        lambda: quantise_triton(x, amax, backward_format(x.device), False),
        (x, amax),
        (BF16 + FP8) * tokens * hidden + 3 * FP32,
    )


@case("fp8_quantise", "of its own amax", SHAPES, 1.68, occupancy_at_least=0.5, targets=HAVE_FP8)
def of_its_own_amax(tokens: int, hidden: int) -> Launch:
    """As above, but x is read twice: no number can be written before all are read. 5 T E bytes of 3 T E: 1.67."""
    x = random(tokens, hidden)
    return Launch(
        lambda: quantise_triton(x, None, forward_format(x.device), False),
        (x,),
        (BF16 + FP8) * tokens * hidden + 2 * FP32,
    )


@case("fp8_quantise_both", "delayed", BOTH, 1.01, occupancy_at_least=0.5, targets=HAVE_FP8)
def both_layouts(tokens: int, hidden: int) -> Launch:
    """Reads x, writes q and its transpose: 4 T E bytes; and amax, scale and its own amax. At T = 64, E = 2048: 524,300.

    Beside them each program's amax, written and read: 8 bytes for 64 x 64 numbers.
    """
    x, amax = random(tokens, hidden), torch.ones(())
    return Launch(
        lambda: quantise_both_triton(x, amax, backward_format(x.device), False),
        (x, amax),
        (BF16 + 2 * FP8) * tokens * hidden + 3 * FP32,
    )


@case("fp8_quantise_rows", "forward", SHAPES, 1.00, occupancy_at_least=0.5, targets=HAVE_FP8)
def rows(tokens: int, hidden: int) -> Launch:
    """Reads x, writes q, and a scale for each 128: 3 T E + T E / 32 bytes. At T = 16, E = 2048: 99,328."""
    x = random(tokens, hidden)
    moved = (BF16 + FP8) * tokens * hidden + FP32 * tokens * hidden // BLOCK
    return Launch(lambda: quantise_rows_triton(x, forward_format(x.device), True), (x,), moved)


@case("fp8_quantise_tiles", "forward", WEIGHTS, 1.00, occupancy_at_least=0.5, targets=HAVE_FP8)
def tiles(outputs: int, inputs: int) -> Launch:
    """Reads the weight, writes q, and a scale for each 128 x 128: 3 F E + F E / 4096 bytes."""
    weight = random(outputs, inputs)
    moved = (BF16 + FP8) * outputs * inputs + FP32 * outputs * inputs // BLOCK**2
    return Launch(lambda: quantise_tiles_triton(weight, forward_format(weight.device), True), (weight,), moved)


@case("fp8_add_rms_norm", "forward", NORMS, 1.00, occupancy_at_least=0.5, targets=HAVE_FP8)
def add_rms_norm(tokens: int, hidden: int) -> Launch:
    """Reads x, residual and weight, writes s, q, and a scale for each 128: 7 T E + 2 E + T E / 32 bytes."""
    x, residual, weight = random(tokens, hidden), random(tokens, hidden), random(hidden)
    moved = (3 * BF16 + FP8) * tokens * hidden + BF16 * hidden + FP32 * tokens * hidden // BLOCK
    return Launch(
        lambda: add_rms_norm_triton(x, residual, weight, 1e-6, forward_format(x.device), True),
        (x, residual, weight),
        moved,
    )


@case("fp8_swiglu", "forward", SHAPES_OF_SWIGLU, 1.00, occupancy_at_least=0.5, targets=HAVE_FP8)
def swiglu(tokens: int, intermediate: int) -> Launch:
    """Reads gate and up, writes q, and a scale for each 128: 5 T F + T F / 32 bytes."""
    gate, up = random(tokens, intermediate), random(tokens, intermediate)
    moved = (2 * BF16 + FP8) * tokens * intermediate + FP32 * tokens * intermediate // BLOCK
    return Launch(lambda: swiglu_triton(gate, up, forward_format(gate.device), True), (gate, up), moved)
