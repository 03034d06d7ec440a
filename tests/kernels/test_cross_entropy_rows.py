"""Rows of logits: their losses, and the gradient in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas_kernels import cross_entropy_rows as rows
from clapas_kernels.cross_entropy_rows import IGNORED, losses_reference, losses_triton, padded
from clapas_kernels.proof.interpreter import only_programs, repaired
from clapas_kernels.proof.reserved import reserved
from clapas_kernels.proof.traffic import Traffic
from clapas_kernels.target import TARGETS, assume

VOCABULARY, Z_LOSS = 300, 0.01
LossesOfRows = Callable[[Tensor, Tensor, float, bool], tuple[Tensor, Tensor]]


@pytest.fixture(params=["reference", "once", "twice"])
def losses_of_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossesOfRows]:
    """The reference and both kernels, of which the second cuts these rows into three pieces."""
    monkeypatch.setattr(rows, "LARGEST_AT_ONCE", 0 if request.param == "twice" else VOCABULARY)
    monkeypatch.setattr(rows, "PIECE", 128)
    with repaired(), assume(TARGETS["sm_90"]):
        yield losses_reference if request.param == "reference" else losses_triton


def held(logits_NV: Tensor, filler: float = float("nan")) -> Tensor:
    """A copy in rows `padded` elements apart, with something between them."""
    wide = logits_NV.new_full((len(logits_NV), padded(logits_NV.shape[1])), filler)
    wide[:, : logits_NV.shape[1]] = logits_NV
    return wide[:, : logits_NV.shape[1]]


def made(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits_NV = 4 * torch.randn(7, VOCABULARY, generator=generator, dtype=torch.float64).to(dtype)
    targets_N = torch.randint(VOCABULARY, (7,), generator=generator)
    targets_N[[0, 4]] = IGNORED
    targets_N[[1, 2]] = torch.tensor([0, VOCABULARY - 1])
    return logits_NV, targets_N


def formula(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, normalisers and the gradient, in fp64."""
    x_NV = logits_NV.double().requires_grad_()
    losses_N = F.cross_entropy(x_NV, targets_N, reduction="none")
    normalisers_N = x_NV.logsumexp(-1) * (targets_N != IGNORED)
    objective = losses_N.sum() + Z_LOSS * normalisers_N.square().sum()
    return losses_N.detach(), normalisers_N.detach(), torch.autograd.grad(objective, x_NV)[0]


def test_losses_and_gradients_are_their_formula(losses_of_rows: LossesOfRows) -> None:
    """In fp64, whatever stands between the rows."""
    logits_NV, targets_N = made()
    logits_held = held(logits_NV)
    losses_N, normalisers_N = losses_of_rows(logits_held, targets_N, Z_LOSS, True)
    wanted = formula(logits_NV, targets_N)
    for found, exact in zip((losses_N, normalisers_N, logits_held), wanted, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)
    assert not logits_held[targets_N == IGNORED].any()


def test_without_a_gradient_the_losses_are_the_same(losses_of_rows: LossesOfRows) -> None:
    logits_NV, targets_N = made(torch.float32)
    with_gradient = losses_of_rows(held(logits_NV), targets_N, Z_LOSS, True)
    for found, wanted in zip(losses_of_rows(held(logits_NV), targets_N, Z_LOSS, False), with_gradient, strict=True):
        assert torch.equal(found, wanted)


def test_logits_far_apart(losses_of_rows: LossesOfRows) -> None:
    """Where exp overflows fp32, probabilities are 0, and some logits are minus infinity."""
    logits_NV, targets_N = made(torch.float32)
    logits_NV, logits_NV[3, 5:100] = 1000 * logits_NV, -torch.inf
    targets_N[3] = 200
    logits_held = held(logits_NV)
    losses_N, _ = losses_of_rows(logits_held, targets_N, 0.0, True)
    x_NV = logits_NV.double().requires_grad_()
    exact_N = F.cross_entropy(x_NV, targets_N, reduction="none")
    torch.testing.assert_close(losses_N, exact_N.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(logits_held, torch.autograd.grad(exact_N.sum(), x_NV)[0].float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [VOCABULARY, -1, 2**40])
def test_a_target_outside_the_vocabulary_is_seen(losses_of_rows: LossesOfRows, target: int) -> None:
    """An error on a CPU; a kernel can raise none, reads nothing outside the row, and its loss is NaN."""
    logits_NV, targets_N = made(torch.float32)
    targets_N[3] = target
    if losses_of_rows is losses_reference:
        with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
            losses_of_rows(held(logits_NV), targets_N, Z_LOSS, True)
    else:
        with Traffic():
            losses_N, _ = losses_of_rows(held(logits_NV, filler=0), targets_N, Z_LOSS, True)
        assert losses_N.isnan().tolist() == [False] * 3 + [True] + [False] * 3


@pytest.mark.parametrize("losses_of_rows", ["once", "twice"], indirect=True)
def test_ignored_rows_are_not_read(losses_of_rows: LossesOfRows) -> None:
    """By the kernels: what is not finite in them stays theirs. The reference multiplies by 0."""
    logits_NV, targets_N = made(torch.bfloat16)
    logits_NV[targets_N == IGNORED] = torch.nan
    logits_held = held(logits_NV)
    losses_N, _ = losses_of_rows(logits_held, targets_N, Z_LOSS, True)
    assert losses_N.isfinite().all()
    assert logits_held.isfinite().all()


@pytest.mark.parametrize("losses_of_rows", ["once", "twice"], indirect=True)
def test_logits_past_two_billion_elements(losses_of_rows: LossesOfRows) -> None:
    """The last row of a chunk that large is read and overwritten where it is."""
    width = padded(VOCABULARY)
    count = 2**31 // width + 8
    logits_NV = reserved(count, width)[:, :VOCABULARY]
    targets_N = torch.full((count,), 7)
    row_NV, _ = made(torch.bfloat16)
    logits_NV[-1] = row_NV[1]
    with only_programs(-1):
        losses_N, _ = losses_of_rows(logits_NV, targets_N, 0.0, True)
    alone = held(row_NV[1:2])
    assert torch.equal(losses_N[-1:], losses_of_rows(alone, targets_N[:1], 0.0, True)[0])
    assert torch.equal(logits_NV[-1], alone[0])
