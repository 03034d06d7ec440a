"""Log-probabilities a target, and their gradients, are those of plain logits, however rows are cut and kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import clapas_kernels
from clapas.tune import log_probabilities as module
from clapas.tune.log_probabilities import log_probabilities, sum_by_document


def plain(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor) -> Tensor:
    """The same by the textbook."""
    logits = (hidden_BSE @ weight_VE.t()).log_softmax(-1)
    return logits.gather(-1, targets_BS.clamp(min=0)[..., None])[..., 0] * (targets_BS >= 0)


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, a head, targets of which a third are none, and a gradient for each."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 40, 16, generator=generator, dtype=dtype)
    weight = torch.randn(300, 16, generator=generator, dtype=dtype) * 0.3
    targets = torch.randint(0, 300, (3, 40), generator=generator)
    targets[torch.rand(3, 40, generator=generator) < 0.33] = -100
    return hidden, weight, targets, torch.randn(3, 40, generator=generator, dtype=dtype)


@pytest.mark.parametrize("rows", [7, 4096])
@pytest.mark.parametrize("held", [0, 2**28])
@pytest.mark.parametrize("trains", ["both", "hidden", "weight"])
def test_values_and_gradients_are_those_of_plain_logits(
    monkeypatch: pytest.MonkeyPatch, rows: int, held: int, trains: str
) -> None:
    """In chunks or at once, kept or made again, with a frozen head or frozen layers below: fp64 agrees to 1e-12."""
    monkeypatch.setattr(module, "rows_of_chunk", lambda *_: rows)
    monkeypatch.setattr(module, "HELD_ON_CPU", held)
    hidden, weight, targets, grad = inputs()
    found = []
    for function in (plain, log_probabilities):
        h = hidden.clone().requires_grad_(trains != "weight")
        w = weight.clone().requires_grad_(trains != "hidden")
        value = function(h, w, targets)
        value.backward(grad)
        found.append((value.detach(), h.grad, w.grad))
    for wanted, got in zip(*found, strict=True):
        assert (wanted is None) == (got is None)
        if wanted is not None:
            torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("trains", ["both", "hidden"])
def test_the_kernels_give_the_same(monkeypatch: pytest.MonkeyPatch, trains: str) -> None:
    """Triton's, interpreted, on padded rows, chunk by chunk."""
    monkeypatch.setattr(module, "rows_of_chunk", lambda *_: 16)
    hidden, weight, targets, grad = inputs(torch.float32)
    found = []
    for implementation in ("reference", "triton"):
        h, w = hidden[:1].clone().requires_grad_(), weight.clone().requires_grad_(trains == "both")
        with clapas_kernels.use(implementation):
            value = log_probabilities(h, w, targets[:1])
            value.backward(grad[:1])
        found.append([value.detach(), h.grad, *([] if w.grad is None else [w.grad])])
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_what_is_kept_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the logits' gradient is kept or made again, the head's gradient is the same to the bit."""
    monkeypatch.setattr(module, "rows_of_chunk", lambda *_: 16)
    hidden, weight, targets, grad = inputs(torch.float32)
    grads = []
    for held in (0, 2**28):
        monkeypatch.setattr(module, "HELD_ON_CPU", held)
        w = weight.clone().requires_grad_()
        log_probabilities(hidden, w, targets).backward(grad)
        grads.append(w.grad)
    assert torch.equal(*grads)


def test_sixteen_bits_hold_gradients_of_any_scale() -> None:
    """fp16 with a loss scale of 2^16: no product overflows that plain fp32 would not."""
    hidden, weight, targets, grad = inputs(torch.float32)
    w = weight.half().requires_grad_()
    log_probabilities(hidden.half(), w, targets).backward(grad * 2.0**16 / 1000)
    wanted = weight.clone().requires_grad_()
    plain(hidden, wanted, targets).backward(grad * 2.0**16 / 1000)
    assert w.grad is not None
    assert wanted.grad is not None
    torch.testing.assert_close(w.grad.float(), wanted.grad, rtol=0.02, atol=2.0)


def test_no_target_is_no_error() -> None:
    """A rank whose documents were all removed has gradients of 0."""
    hidden, weight, targets, _ = inputs()
    h, w = hidden.requires_grad_(), weight.requires_grad_()
    log_probabilities(h, w, torch.full_like(targets, -100)).sum().backward()
    assert h.grad is not None
    assert w.grad is not None
    assert not h.grad.any()
    assert not w.grad.any()


def test_sums_are_of_each_document() -> None:
    """Padding between samples, and a sample of padding alone, belong to nobody; the gradient goes to each token."""
    segments = torch.tensor([[-1, -1, -1, -1], [0, 0, 1, -1], [2, 3, 3, 3], [-1, -1, -1, -1]])
    values = (torch.arange(16.0).view(4, 4) * (segments >= 0)).requires_grad_()
    sums = sum_by_document(values, segments, 4)
    assert sums.tolist() == [9, 6, 8, 30]
    (sums * torch.tensor([1.0, 10, 100, 1000])).sum().backward()
    assert values.grad is not None
    assert values.grad[segments >= 0].tolist() == [1, 1, 10, 100, 1000, 1000, 1000]
    assert sum_by_document(values, segments, 0).shape == (0,)
