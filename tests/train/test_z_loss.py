"""`train.z_loss`: in what is minimised, in no loss that is told, and nowhere where it is 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clapas.checkpoint.reader import CheckpointReader
from clapas.ledger.ledger import read_json_lines
from clapas.model.decoder import CausalLM
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.objective import language_modelling, objective_of, refuse_z_loss
from clapas.train.train import initial_model
from commands import Clapas

Z_LOSS = 0.01
OVERRIDES = [f"train.z_loss={Z_LOSS}"]


@dataclass
class Tokens:
    """What the objective reads of a batch."""

    tokens: Tensor
    targets: Tensor
    positions: Tensor | None = None
    document_ids: Tensor | None = None
    document_starts: Tensor | None = None


def model_and_batch() -> tuple[CausalLM, Any]:
    model = initial_model(read_recipe("test"))
    assert isinstance(model, CausalLM)
    tokens = torch.randint(2048, (2, 33), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].clone()
    targets[0, :5] = -100
    return model, Tokens(tokens[:, :-1], targets)


def gradients(model: nn.Module, objective: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(objective, list(model.parameters())))


def test_the_gradient_is_the_formulas_and_the_losses_are_without() -> None:
    model, batch = model_and_batch()
    objective, losses = objective_of(read_recipe("test", OVERRIDES), None).loss(model, batch)
    plain, losses_without = language_modelling(model, batch)
    assert torch.equal(losses, losses_without)
    logits = model(batch.tokens)
    assert isinstance(logits, Tensor)
    normalisers = logits.logsumexp(-1)[batch.targets >= 0]
    formula = plain + Z_LOSS * normalisers.square().sum()
    torch.testing.assert_close(objective, formula)
    for found, wanted in zip(gradients(model, objective), gradients(model, formula), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_it_makes_another_run_where_it_is_used() -> None:
    plain, zero, other = (read_recipe("test", o) for o in ([], ["train.z_loss=0"], OVERRIDES))
    assert "z_loss" not in plain.identity("")
    assert plain.identity_hash("") == zero.identity_hash("") != other.identity_hash("")
    assert objective_of(plain, None).loss is language_modelling


def test_what_has_none_is_refused_by_name() -> None:
    recipe = read_recipe("test", OVERRIDES)
    with pytest.raises(UserError, match=r"train.z_loss 0.01 and an objective given to `train`"):
        objective_of(recipe, lambda model, batch: language_modelling(model, batch))
    with pytest.raises(UserError, match=r"a Linear whose forward takes no z_loss"):
        refuse_z_loss(recipe, nn.Linear(1, 1))


def mean_square_normaliser(run: Path) -> float:
    """Of the trained model's logits on fixed tokens."""
    model, batch = model_and_batch()
    reader = CheckpointReader(run / "checkpoints/step-00000020")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(reader.tensor(name))
        return float(model(batch.tokens).logsumexp(-1).square().mean())


@pytest.mark.slow
def test_training_with_it_shrinks_normalisers(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Also where ZeRO-3 gathers the head; and the first step's logged loss is pure."""
    arguments = (
        "train",
        "test",
        f"data.path={test_data}",
        "train.threads=1",
        "evaluation.every=100",
    )
    first = {}
    for name, overrides in {"plain": (), "z": ("train.z_loss=1e-4", "parallel.zero_stage=3")}.items():
        result = clapas(*arguments, f"run_dir={name}", *overrides, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        first[name] = read_json_lines(tmp_path / name / "metrics.jsonl")[0]["loss"]
    assert first["z"] == pytest.approx(first["plain"], rel=1e-6)
    assert mean_square_normaliser(tmp_path / "z") < mean_square_normaliser(tmp_path / "plain")
