"""fp8 on a GPU: the kernels' bytes, and the linear's products."""

from __future__ import annotations

import pytest
import torch

from clapas_kernels import LinearAmax, fp8_linear, fp8_quantise, fp8_quantise_rows, fp8_quantise_tiles, use
from clapas_kernels.fp8_linear import choose


@pytest.mark.needs_gpus(1, proves="the fp8 kernels give the reference's bytes, and fp8_linear its values")
def test_fp8_on_a_gpu() -> None:
    """From sm_89 on, and on gfx942 and later; elsewhere there is none."""
    source = torch.Generator().manual_seed(0)
    shapes = [(2, 128, 256), (384, 256), (2, 128, 384)]
    x, weight, grad = (torch.randn(shape, generator=source).to("cuda", torch.bfloat16) for shape in shapes)
    x.requires_grad_()
    weight.requires_grad_()
    if choose(x, weight)[0] == "plain":
        pytest.skip(choose(x, weight)[1])
    for quantise, tensor in ((fp8_quantise, x), (fp8_quantise_rows, x), (fp8_quantise_tiles, weight)):
        found = quantise(tensor)
        with use("reference"):
            for ours, theirs in zip(found, quantise(tensor), strict=True):
                assert torch.equal(ours.float(), theirs.float())
    results = []
    for implementation in ("triton", "reference"):
        with use(implementation):
            y = fp8_linear(x, weight, LinearAmax(device=x.device))
            results.append([y, *torch.autograd.grad(y, (x, weight), grad)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
