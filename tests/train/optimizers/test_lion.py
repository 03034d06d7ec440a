"""Lion follows its paper's program."""

from __future__ import annotations

import torch

from clapas.train.optimizers.lion import Lion


def test_lion_is_the_papers_program() -> None:
    """Five steps in fp64 against program 1 of Chen et al. (2023), written out here."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    gradients = [torch.randn(6, 4, dtype=torch.float64) for _ in range(5)]
    optimizer = Lion([weight], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    w, m = weight.detach().clone(), torch.zeros(6, 4, dtype=torch.float64)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        update = torch.sign(0.9 * m + (1 - 0.9) * gradient) + 0.1 * w
        w = w - 0.01 * update
        m = 0.99 * m + (1 - 0.99) * gradient
    assert torch.allclose(weight, w, rtol=0, atol=1e-14)
    assert torch.allclose(optimizer.state[weight]["exp_avg"], m, rtol=0, atol=1e-14)
