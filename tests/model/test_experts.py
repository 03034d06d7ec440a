"""Experts: the formula, the balance term, and that a batch may be cut anywhere between its samples."""

from __future__ import annotations

import pytest
import torch

from clapas.model import operations
from clapas.model.experts import ExpertWeights, MixtureOfExperts, balance_term
from clapas.model.operations import IGNORED
from clapas_kernels import swiglu
from model.shapes import config_of, model_of, tokens_of


def mixture(shape: str = "experts") -> MixtureOfExperts:
    """One layer's experts."""
    layer = model_of(config_of(shape, router_aux_loss_coef=0.5)).get_submodule("model.layers.0.mlp")
    assert isinstance(layer, MixtureOfExperts)
    return layer


@pytest.mark.parametrize("shape", ["experts", "experts, one a token, weights as they are"])
@torch.no_grad()
def test_each_token_is_the_weighted_sum_of_its_experts(shape: str) -> None:
    """Token by token, in the order of the router's weights."""
    layer = mixture(shape)
    x_BSE = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(2))
    found_BSE, _ = layer(x_BSE, None)
    weights = layer.experts
    for x_E, y_E in zip(x_BSE.flatten(0, 1), found_BSE.flatten(0, 1), strict=True):
        p_X = (layer.gate.weight @ x_E).softmax(0)
        chosen = p_X.argsort(descending=True)[: layer.shape.per_token]
        total = p_X[chosen].sum() if layer.shape.normalised else 1.0
        want_E = sum(
            p_X[expert]
            / total
            * (weights.down_proj[expert] @ swiglu(weights.gate_proj[expert] @ x_E, weights.up_proj[expert] @ x_E))
            for expert in chosen
        )
        torch.testing.assert_close(y_E, want_E, rtol=1e-4, atol=1e-5)


def test_products_in_groups_are_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's way, which PyTorch can also take on a CPU: the same rows and gradients, an idle expert included."""
    generator = torch.Generator().manual_seed(0)
    weights = ExpertWeights(count=4, hidden=16, width=24)
    for parameter in weights.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    x_RE, grad_RE = (torch.randn(20, 16, generator=generator) for _ in range(2))
    rows_X = torch.tensor([3, 0, 12, 5])
    results: list[list[torch.Tensor]] = []
    for in_groups in (False, True):
        monkeypatch.setattr(operations, "multiplies_in_groups", lambda _, answer=in_groups: answer)
        weights.zero_grad()
        y_RE = weights(x_RE, rows_X)
        y_RE.backward(grad_RE)
        results.append([y_RE, *(p.grad for p in weights.parameters() if p.grad is not None)])
    assert len(results[0]) == 4
    for loop, groups in zip(*results, strict=True):
        torch.testing.assert_close(loop, groups, rtol=1e-4, atol=1e-5)


def test_an_even_load_costs_one_a_token_and_an_uneven_one_more() -> None:
    """T for even use and even probabilities; X / k times T where every token goes to the same k with certainty."""
    even_BSX, targets = torch.full((1, 6, 6), 1 / 6), torch.ones(1, 6, dtype=torch.bool)
    chosen_BSk = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6], dim=-1)[None]
    assert balance_term(even_BSX, chosen_BSk, targets).item() == pytest.approx(6)
    one_BSX = torch.zeros(1, 6, 6)
    one_BSX[..., :2] = 0.5
    assert balance_term(one_BSX, torch.tensor([0, 1]).expand(1, 6, 2), targets).item() == pytest.approx(6 * 6 / 2)


def test_how_samples_are_split_changes_nothing() -> None:
    """Objective and gradients of a batch are the sums over its samples one by one, masked tokens left out."""
    model = model_of(config_of("experts", router_aux_loss_coef=0.5))
    tokens_BS = tokens_of(model.config, batch=3)
    targets_BS = tokens_BS.roll(-1, 1)
    targets_BS[0, 10:], targets_BS[1, :50], targets_BS[2] = IGNORED, IGNORED, IGNORED
    parameters = list(model.parameters())
    whole, losses_B = model(tokens_BS, targets_BS=targets_BS)
    parts = [model(tokens_BS[row : row + 1], targets_BS=targets_BS[row : row + 1])[0] for row in range(3)]
    assert parts[2].item() == 0
    assert whole.item() > losses_B.sum().item() + 0.5 * 3 * 24  # 24 targets, 3 layers, a balance term over 1 each
    torch.testing.assert_close(sum(parts), whole, rtol=1e-5, atol=0)
    found = torch.autograd.grad(parts[0] + parts[1] + parts[2], parameters)
    for grad, want in zip(found, torch.autograd.grad(whole, parameters), strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
