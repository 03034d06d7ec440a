"""The arithmetic against its formula in fp64, and against PyTorch's own gradients."""

from __future__ import annotations

import math

import pytest
import torch

from clapas.model import operations
from clapas.model.operations import IGNORED
from clapas.model.rotary import rotary_angles
from model.shapes import config_of


def test_far_angles_keep_their_precision_in_bf16() -> None:
    """Angles are computed in fp32 and rounded last: at position 100,000 they are off by bf16's step, not by turns."""
    positions = torch.tensor([[100_000]])
    config = config_of(head_dim=64)
    cos, _ = rotary_angles(positions, config, torch.bfloat16)
    want, _ = rotary_angles(positions, config, torch.float32)
    assert (cos.float() - want).abs().max() <= 2**-8


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


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_loss_of_the_head_in_pieces(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that do not divide the batch, ignored targets, and logits so far apart that a probability is 0 in fp32."""
    monkeypatch.setattr(operations, "ROWS_AT_LEAST", 16)
    monkeypatch.setitem(operations.LOGITS_AT_ONCE, "cpu", 1)
    generator = torch.Generator().manual_seed(1)
    x = (scale * torch.randn(50, 12, generator=generator)).requires_grad_()
    head = torch.randn(37, 12, generator=generator, requires_grad=True)
    targets = torch.randint(37, (50,), generator=generator)
    targets[[0, 20, 49]] = IGNORED
    loss, losses_B = operations.summed_loss_of_head(x.view(5, 10, 12), head, targets.view(5, 10))
    logits = x.double() @ head.double().t()
    want = operations.summed_loss(logits, targets)
    assert math.isfinite(loss.item())
    torch.testing.assert_close(loss, want, rtol=1e-5, atol=0)
    each = [operations.summed_loss(*sample) for sample in zip(logits.split(10), targets.split(10), strict=True)]
    torch.testing.assert_close(losses_B, torch.stack(each), rtol=1e-5, atol=0)
    assert not losses_B.requires_grad
    found = torch.autograd.grad(loss * 0.3, (x, head))
    for grad, expected in zip(found, torch.autograd.grad(want * 0.3, (x, head)), strict=True):
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_no_target_no_loss_and_no_gradient() -> None:
    """A batch of ignored targets, as a rank may hold at the end of the data, sums to 0 with gradients of 0."""
    x, head = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    loss, _ = operations.summed_loss_of_head(x[None], head, torch.full((1, 4), IGNORED))
    assert loss.item() == 0
    assert all(not grad.any() for grad in torch.autograd.grad(loss, (x, head)))
