"""Model FLOPs utilisation: what share of the hardware's peak the model's own arithmetic reaches.

MFU counts what training needs (`Recipe.flops_per_token`), HFU what the hardware executes: with activation
checkpointing it is more. On a GPU the peak is the datasheet's (slurm/hardware.yaml). A CPU has none that means
anything, so its peak is measured: the best of a few large matrix products with the rank's own threads.
"""

from __future__ import annotations

import time

import torch

from clapas.plan.hardware import peak_flops
from clapas.recipe.recipe import Recipe

SIZE = 1024  # a product of two such fp32 matrices takes about 20 ms on one core
REPEATS = 4


def executed_flops(recipe: Recipe, sequence_length: int) -> float:
    """Floating-point operations executed for each one that the model needs: 1, or more where the layers' forward is
    made twice.

    Full activation checkpointing computes every layer again, which is a third of its forward and backward; the head
    and its loss are not. Tiles compute the feed-forward layers' forward again. Selective checkpointing keeps what
    matrix products made, and computes again what counts nothing here.
    """
    model, compute = recipe.model, recipe.compute
    flops, whole = recipe.flops_per_token(sequence_length), model.flops_per_token(sequence_length)
    again = 0.0
    if compute.activation_checkpointing == "full":
        again += (whole - 6 * model.vocab_size * model.hidden_size) / 3
    if compute.tiled_mlp is not None:
        width = (model.num_experts_per_tok or 1) * (model.moe_intermediate_size or model.intermediate_size)
        again += 6 * model.num_hidden_layers * model.hidden_size * width
    return 1 + again / flops


def device_peak(device: torch.device, precision: str) -> float | None:
    """Peak FLOP/s of one rank's device, or None where it is not known."""
    if device.type == "cuda":
        return peak_flops(torch.cuda.get_device_name(device), precision)
    return measured_matmul_peak(torch.float32 if precision == "fp32" else torch.bfloat16)


def measured_matmul_peak(dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of a few matrix products on this CPU."""
    left = torch.ones(SIZE, SIZE, dtype=dtype)
    right = torch.ones(SIZE, SIZE, dtype=dtype)
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - begin)
    return 2 * SIZE**3 / best
