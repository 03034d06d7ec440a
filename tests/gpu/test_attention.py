"""Document-masked attention on a GPU."""

from __future__ import annotations

import pytest
import torch

from clapas_kernels import Documents, attention
from clapas_kernels.attention import attention_reference, choose


@pytest.mark.needs_gpus(1, proves="varlen and compiled FlexAttention are the dense formula, forward and backward")
@pytest.mark.parametrize(
    ("dtype", "kernel", "tolerance"), [(torch.bfloat16, "varlen", 2e-2), (torch.float32, "flex", 2e-3)]
)
def test_a_gpus_kernels_are_the_dense_formula(dtype: torch.dtype, kernel: str, tolerance: float) -> None:
    """bf16 by cumulative lengths, fp32 by FlexAttention: what is within the dtype's rounding of the reference."""
    source = torch.Generator().manual_seed(0)
    shapes = [(2, heads, 256, 64) for heads in (8, 2, 2)]
    q, k, v = (torch.randn(shape, generator=source).to("cuda", dtype).requires_grad_() for shape in shapes)
    lengths = torch.tensor([100, 1, 155])
    ids = torch.repeat_interleave(torch.arange(3), lengths).expand(2, -1).cuda()
    assert choose(q)[0] == kernel
    results = [function(q, k, v, Documents(ids)) for function in (attention, attention_reference)]
    gradients = [torch.autograd.grad(result.float().square().sum(), (q, k, v)) for result in results]
    for ours, theirs in zip((results[0], *gradients[0]), (results[1], *gradients[1]), strict=True):
        scale = theirs.float().norm()
        assert (ours.float() - theirs.float()).norm() <= tolerance * scale
