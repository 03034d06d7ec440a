"""Cross-entropy: forward and backward; the vocabularies of Llama-2, GPT-2, a power of two, Llama-3."""

from __future__ import annotations

import torch
from torch import Tensor

from clapas_kernels.cross_entropy import backward_triton, forward_triton
from clapas_kernels.proof.cases import Launch, case, random

SHAPES = [{"rows": 4, "vocabulary": size} for size in (32_000, 50_257, 65_536, 128_256)]
BF16, FP32, INT64 = torch.bfloat16.itemsize, torch.float32.itemsize, torch.int64.itemsize
Z_LOSS, IGNORED = 1e-4, -100


def targets_of(rows: int, vocabulary: int) -> Tensor:
    """Some columns, in int64."""
    return torch.arange(rows) * (vocabulary // rows)


@case("cross_entropy", "forward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def forward(rows: int, vocabulary: int) -> Launch:
    """Reads logits and targets, writes losses and normalisers. N = 4, V = 32,000: 256,000 + 4 (8 + 4 + 4) bytes."""
    logits, targets = random(rows, vocabulary), targets_of(rows, vocabulary)
    return Launch(
        lambda: forward_triton(logits, targets, Z_LOSS, IGNORED),
        (logits, targets),
        rows * (vocabulary * BF16 + INT64 + 2 * FP32),
    )


@case("cross_entropy", "backward", SHAPES, ratio_at_most=1.02, occupancy_at_least=0.5)
def backward(rows: int, vocabulary: int) -> Launch:
    """Reads logits, targets, normalisers and a gradient a row, writes the logits' gradient."""
    logits, targets = random(rows, vocabulary), targets_of(rows, vocabulary)
    grad, normaliser = random(rows, dtype=torch.float32), random(rows, dtype=torch.float32)
    return Launch(
        lambda: backward_triton(grad, logits, targets, normaliser, Z_LOSS, IGNORED),
        (grad, logits, targets, normaliser),
        rows * (2 * vocabulary * BF16 + INT64 + 2 * FP32),
    )
