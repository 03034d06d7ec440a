"""The arithmetic against its formula in fp64, and against PyTorch's own gradients."""

from __future__ import annotations

import math

import pytest
import torch

from clapas.model import operations
from clapas.model.rotary import rotary_angles
from model.shapes import config_of


def test_far_angles_keep_their_precision_in_bf16() -> None:
    """Angles are computed in fp32 and rounded last: at position 100,000 they are off by bf16's step, not by turns."""
    positions = torch.tensor([[100_000]])
    config = config_of(head_dim=64)
    cos, _ = rotary_angles(positions, config, torch.bfloat16)
    want, _ = rotary_angles(positions, config, torch.float32)
    assert (cos.float() - want).abs().max() <= 2**-8


@pytest.mark.parametrize("shape", [(1, 1, 40), (2, 1, 40), (2, 4, 40), (8, 400), (3, 3, 40)])
@pytest.mark.parametrize("by_columns", [False, True])
def test_few_rows_are_multiplied_as_many_are(shape: tuple[int, ...], by_columns: bool) -> None:
    """One row, few and many, of weights either way in memory, with and without a bias: x W^T + b."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*size, generator=generator) for size in (shape, (70, shape[-1]), (70,)))
    laid_out = weight.t().contiguous().t() if by_columns else weight
    for added in (None, bias):
        want = x.double() @ weight.double().t() + (0 if added is None else added.double())
        with torch.no_grad():
            torch.testing.assert_close(operations.linear(x, laid_out, added).double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [7, 600])
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_its_formula(length: int, heads: int, shared: int, masked: bool) -> None:
    """Short or long, shared or not, causal or masked: softmax(q k^T / sqrt(D)) v."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, length, 16, generator=generator) for n in (heads, shared, shared))
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    if masked:
        seen = seen & (torch.arange(length)[:, None] // 3 == torch.arange(length) // 3)
    found = operations.attention(q, k, v, seen[None, None] if masked else None, is_causal=not masked)
    scores = q.double() @ k.double().repeat_interleave(heads // shared, 1).mT / 4
    want = scores.masked_fill(~seen, -math.inf).softmax(-1) @ v.double().repeat_interleave(heads // shared, 1)
    torch.testing.assert_close(found, want.float(), rtol=1e-5, atol=1e-5)
