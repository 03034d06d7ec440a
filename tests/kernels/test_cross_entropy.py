"""Cross-entropy of logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clapas_kernels import cross_entropy
from clapas_kernels.cross_entropy import IGNORED
from kernels.contract import Contract, Operation, Results, Sizes

Z_LOSS = 0.01
SIZES = {
    "accurate": {"rows": 20, "vocabulary": 5000},
    "odd": [
        {"rows": 3, "vocabulary": 4500},
        {"rows": 1, "vocabulary": 1},
        {"rows": 4, "vocabulary": 13},
        {"rows": 2, "vocabulary": 4133},
    ],
    "empty": {"rows": 0, "vocabulary": 24},
    "tiny": {"rows": 2, "vocabulary": 3},
}


def make(sizes: Sizes, generator: torch.Generator) -> Results:
    """Some logits far from the others, and the second target ignored."""
    rows, vocabulary = sizes["rows"], sizes["vocabulary"]
    logits = 3 * torch.randn(2, rows, vocabulary, generator=generator)
    targets = torch.randint(vocabulary, (2, rows), generator=generator)
    targets[:, 1:2] = IGNORED
    return logits, targets


def formula(logits: Tensor, targets: Tensor, z_loss: float = Z_LOSS) -> Tensor:
    """Each loss, by the definition."""
    is_target, lse = targets != IGNORED, logits.exp().sum(-1).log()
    logit = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (lse - logit + z_loss * lse.square()) * is_target


def error_of_losses(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """Each loss is a difference of fp32 numbers, each of some 4 ulps: log sum exp, its square, a logit."""
    logits = inputs[0].detach()
    sizes = logits.exp().sum(-1).log().abs() + logits.abs().amax(-1)
    return 4 * 2.0**-23 * float(sizes.norm())


def error_of_gradients(dtype: torch.dtype, inputs: Results, grads: Results) -> float:
    """exp(x - lse) errs by as many ulps of 1 as x - lse, itself rounded, is large: by u |x - lse| of the share, beside
    the 2 ulps of exp and a product."""
    logits = inputs[0].detach()
    lse = logits.exp().sum(-1, keepdim=True).log()
    return 2.0**-24 * float(
        ((logits - lse).exp() * ((logits - lse).abs() + lse.abs() + 6) * grads[0][..., None]).norm()
    )


class TestCrossEntropy(Contract):
    operation = Operation(
        function=lambda logits, targets: cross_entropy(logits, targets, Z_LOSS, reduction="none"),
        formula=formula,
        make=make,
        largest_error={"output 0": error_of_losses, "gradient 0": error_of_gradients},
        **SIZES,
    )


@pytest.mark.parametrize("z_loss", [0.0, Z_LOSS])
def test_the_sum_is_that_of_the_losses(implementation: str, z_loss: float) -> None:
    logits, targets = make(SIZES["odd"][0], torch.Generator().manual_seed(0))
    found = cross_entropy(logits, targets, z_loss)
    wanted = formula(logits.double(), targets, z_loss).sum()
    torch.testing.assert_close(found, wanted.float(), rtol=1e-6, atol=0)


def test_no_target_no_loss_and_no_gradient(implementation: str) -> None:
    """A batch of ignored targets has loss 0 and gradients of 0."""
    logits = torch.randn(4, 50, requires_grad=True)
    loss = cross_entropy(logits, torch.full((4,), IGNORED), Z_LOSS)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_logits_of_minus_infinity_are_out_of_the_question(implementation: str) -> None:
    """Masked logits, a whole piece of them, have no share and no gradient."""
    logits = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    logits[:, :8200] = -torch.inf
    logits.requires_grad_()
    targets = torch.tensor([8500, 8999])
    loss = cross_entropy(logits, targets)
    (grad,) = torch.autograd.grad(loss, logits)
    wanted = formula(logits.detach()[:, 8200:].double(), targets - 8200, 0.0).sum()
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    assert not grad[:, :8200].any()
    assert grad[:, 8200:].isfinite().all()


def test_a_target_outside_the_vocabulary_is_no_silent_loss() -> None:
    """The reference refuses it; the kernels cannot, and say NaN."""
    from clapas_kernels import use
    from clapas_kernels.proof.interpreter import repaired

    logits, targets = torch.zeros(2, 8), torch.tensor([3, 8])
    with pytest.raises(IndexError):
        cross_entropy(logits, targets)
    with repaired(), use("triton"):
        losses = cross_entropy(logits, targets, reduction="none")
    assert losses.isnan().tolist() == [False, True]
