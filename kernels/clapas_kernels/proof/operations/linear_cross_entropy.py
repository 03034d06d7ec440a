"""The projection to logits with its loss: a chunk's losses and gradient in place, the whole, and the backward pass."""

from __future__ import annotations

import torch

from clapas_kernels.cross_entropy_rows import losses_triton, padded
from clapas_kernels.linear_cross_entropy import in_chunks, times_triton
from clapas_kernels.proof.cases import Launch, case, random

VOCABULARIES = (32_000, 50_257, 65_536, 128_256)
BF16, FP32, INT64 = torch.bfloat16.itemsize, torch.float32.itemsize, torch.int64.itemsize
SCALED = {"tokens": 256, "hidden": 64, "vocabulary": 2048, "rows": 64}
"""16,384 tokens of 4,096 and a vocabulary of 131,072 in chunks of 4,096 rows, each divided by 64."""


def forward_bytes(tokens: int, hidden: int, vocabulary: int, rows: int, itemsize: int) -> int:
    """What the forward pass moves, but losses and targets: the module's table."""
    chunks = -(-tokens // rows)
    logits = 5 * itemsize * tokens * padded(vocabulary)
    weight = 2 * chunks * itemsize * vocabulary * hidden
    grad_weight = (2 * chunks - 1) * FP32 * vocabulary * hidden
    return logits + weight + grad_weight + 3 * itemsize * tokens * hidden


def backward_bytes(tokens: int, hidden: int, vocabulary: int, itemsize: int) -> int:
    """What the backward pass moves: d hidden, and d weight in fp32, read and written."""
    return 2 * itemsize * tokens * hidden + (FP32 + itemsize) * vocabulary * hidden


@case(
    "linear_cross_entropy",
    "losses of a chunk",
    [{"rows": 4, "vocabulary": vocabulary} for vocabulary in VOCABULARIES],
    ratio_at_most=1.02,
    occupancy_at_least=0.5,
)
def losses(rows: int, vocabulary: int) -> Launch:
    """Reads the logits and overwrites them: 2 rows V elements; reads targets, writes losses and normalisers. At 4 rows
    of 32,000: 512,064 bytes. The rest of `wide` is those three, once a row, in code that moves V logits."""
    logits = random(rows, padded(vocabulary))
    targets = torch.arange(rows)
    return Launch(
        lambda: losses_triton(logits[:, :vocabulary], targets, 1e-4, True),
        (logits, targets),
        2 * rows * vocabulary * BF16 + rows * (INT64 + 2 * FP32),
        written=(logits,),
    )


@case("linear_cross_entropy", "forward", [SCALED], ratio_at_most=15.8)
def forward(tokens: int, hidden: int, vocabulary: int, rows: int) -> Launch:
    """In fp32, for a CPU adds no product of 16 bits to fp32. Reads hidden and weight, writes both gradients: 2 (T + V)
    E elements, 1,179,648 bytes. The logits, which are not of the minimum, make it 15.7 times that: 18,546,688 bytes by
    `forward_bytes`, and the meter finds 0.1 % more, which are losses and targets."""
    x, weight, targets = (
        random(tokens, hidden, dtype=torch.float32),
        random(vocabulary, hidden, dtype=torch.float32),
        torch.arange(tokens),
    )
    return Launch(
        lambda: in_chunks(losses_triton, x, weight, targets, 1e-4, True, True, rows),
        (x, weight, targets),
        2 * (tokens + vocabulary) * hidden * FP32,
    )


@case("linear_cross_entropy", "backward", [{"tokens": 256, "hidden": 64, "vocabulary": 2048}], 1.00, 0.5)
def backward(tokens: int, hidden: int, vocabulary: int) -> Launch:
    """Reads d hidden in bf16 and d weight in fp32, and one number for each; writes both in bf16: 851,976 bytes."""
    factor = random(1, dtype=torch.float32)[0]
    grad_hidden, grad_weight = random(tokens, hidden), random(vocabulary, hidden, dtype=torch.float32)
    return Launch(
        lambda: times_triton(factor, grad_hidden, grad_weight),
        (factor, grad_hidden, grad_weight),
        backward_bytes(tokens, hidden, vocabulary, BF16) + 2 * FP32,
    )
