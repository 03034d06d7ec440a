"""Which tensors of a 16-bit model stay fp32 (docs/precision.md), seen operation by operation."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clapas.model import operations
from clapas_kernels import linear_cross_entropy
from model.shapes import config_of, model_of, tokens_of

ALWAYS_WIDE = {
    "mean": "norm statistics",
    "rsqrt": "norm statistics",
    "cos": "rotary angles",
    "sin": "rotary angles",
    "_softmax": "the router",
    "topk": "the router",
    "sum": "losses and balance terms",
}
"""PyTorch's operation -> what the decoder uses it for. (The head's loss is one operator, with bounds of its own.)"""
HALVES = (torch.bfloat16, torch.float16)


class Dtypes(TorchDispatchMode):
    """The floating dtypes that each operation reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                self.read[func.overloadpacket.__name__].add(leaf.dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_and_exponentials_are_fp32(dtype: torch.dtype) -> None:
    """In the forward pass of a 16-bit model with experts these operations read fp32, and products read 16 bits."""
    model = model_of(config_of("experts", router_aux_loss_coef=0.01)).to(dtype)
    tokens_BS = tokens_of(model.config)
    with Dtypes() as seen:
        objective, losses_B = model(tokens_BS, targets_BS=tokens_BS.roll(-1, 1))
    assert {name: seen.read[name] for name in ALWAYS_WIDE} == {key: {torch.float32} for key in ALWAYS_WIDE}
    assert seen.read["mm"] == {dtype}
    assert objective.dtype == losses_B.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
@torch.no_grad()
def test_attention_sums_its_weights_in_fp32(dtype: torch.dtype) -> None:
    """The mean of 4,096 ones is one: a sum in bf16 stops at 256, one in fp16 at 2,048."""
    q, k, v = torch.zeros(1, 2, 4096, 16), torch.randn(1, 1, 4096, 16), torch.ones(1, 1, 4096, 16)
    mixed = operations.attention(q.to(dtype), k.to(dtype), v.to(dtype), mask=None, is_causal=True)
    assert torch.equal(mixed, torch.ones_like(mixed))


def test_the_head_sums_its_gradient_in_fp32() -> None:
    """Over 512 pieces of one row each: the bf16 gradient is the fp32 one rounded, up to the products' own rounding."""
    generator = torch.Generator().manual_seed(0)
    x = torch.ones(1, 512, 4)
    head = torch.zeros(3, 4).bfloat16().requires_grad_()
    targets = torch.randint(2, (1, 512), generator=generator)  # id 2 is never a target: its gradient is 512 / 3
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("ROWS_ON_CPU", "LOGITS_ON_CPU"):
            patch.setattr(sys.modules["clapas_kernels.linear_cross_entropy"], limit, 1)
        loss, _ = linear_cross_entropy(x.bfloat16(), head, targets)
    (grad,) = torch.autograd.grad(loss, head)
    torch.testing.assert_close(grad[2].float(), torch.full((4,), 512 / 3), rtol=2**-8, atol=0)
