"""Schedule-Free AdamW follows its paper's algorithm, and keeps the average that evaluation takes."""

from __future__ import annotations

import torch

from clapas.train.optimizers.schedule_free import ScheduleFreeAdamW


def test_schedule_free_is_the_papers_algorithm() -> None:
    """Six steps with a warm-up, in fp64, against algorithm 1 of Defazio et al. (2024), written out here."""
    torch.manual_seed(0)
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    gradients = [torch.randn(5, 3, dtype=torch.float64) for _ in range(6)]
    rates = [0.005, 0.01, 0.01, 0.01, 0.01, 0.01]
    beta1, beta2, eps, decay = 0.9, 0.95, 1e-8, 0.1
    optimizer = ScheduleFreeAdamW([weight], lr=0.01, betas=(beta1, beta2), eps=eps, weight_decay=decay)
    x, z = weight.detach().clone(), weight.detach().clone()
    v, total = torch.zeros_like(x), 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        y = (1 - beta1) * z + beta1 * x
        assert torch.allclose(weight, y, rtol=0, atol=1e-8)
        weight.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        v = beta2 * v + (1 - beta2) * gradient**2
        z = z - rate * (gradient / (torch.sqrt(v / (1 - beta2**step)) + eps) + decay * y)
        total += rate**2
        x = (1 - rate**2 / total) * x + rate**2 / total * z
    state = optimizer.state[weight]
    assert torch.allclose(state["z"], z, rtol=0, atol=1e-8)
    assert torch.allclose(state["average"], x, rtol=0, atol=1e-7)  # its weights are summed in fp32


def test_a_learning_rate_of_zero_is_no_step() -> None:
    """It would have no weight in the average."""
    weight = torch.ones(3, requires_grad=True)
    optimizer = ScheduleFreeAdamW([weight], lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    weight.grad = torch.ones(3)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert torch.equal(weight, torch.ones(3))
    assert not optimizer.state[weight]
