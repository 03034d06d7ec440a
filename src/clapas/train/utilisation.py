"""Model FLOPs utilisation: what share of the hardware's peak the model's own arithmetic reaches.

On a GPU the peak is the datasheet's (slurm/hardware.yaml). A CPU has none that means anything, so its peak is
measured: the best of a few large matrix products with the threads that the rank trains with.
"""

from __future__ import annotations

import time

import torch

from clapas.plan.hardware import peak_flops

SIZE = 1024  # a product of two such fp32 matrices takes about 20 ms on one core
REPEATS = 4


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
