"""What a run minimises: a sum over target tokens, so that how a step is split changes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from clapas.loader.batch import Batch
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe

Objective = Callable[[Any, Batch], tuple[Tensor, Tensor]]
"""(model or engine, batch on its device) -> (what is minimised, a sum over the batch's target tokens; each sample's
loss, (B,), without gradient, which is what is logged). The loop divides both by the step's count of targets over all
ranks."""


def language_modelling(model: Any, batch: Batch, **options: float) -> tuple[Tensor, Tensor]:
    """The cross-entropies in nats of each next token, summed; with experts also what balances their load.

    options: `z_loss`, which is added to what is minimised alone: the model tells both from one pass.
    """
    return model(
        batch.tokens,
        batch.positions,
        batch.document_ids,
        document_starts=batch.document_starts,
        targets_BS=batch.targets,
        **options,
    )


def objective_of(recipe: Recipe, objective: Objective) -> Objective:
    """`objective` with the recipe's z-loss. Raises UserError where it is another than `language_modelling`."""
    z_loss = recipe.train.z_loss
    if not z_loss:
        return objective
    if objective is not language_modelling:
        raise UserError(
            "an objective of your own has no z-loss",
            where=recipe.place("train.z_loss"),
            found=f"train.z_loss {z_loss} and an objective given to `train`",
            wanted="one of the two",
            way_out="train.z_loss=0, and pass z_loss to the model in your objective",
        )
    return partial(language_modelling, z_loss=z_loss)


def refuse_z_loss(recipe: Recipe, model: nn.Module) -> None:
    """Raise UserError where the recipe has a z-loss and the model's `forward` takes none."""
    if recipe.train.z_loss and "z_loss" not in inspect.signature(model.forward).parameters:
        raise UserError(
            "this model has no z-loss",
            where=recipe.place("train.z_loss"),
            found=f"train.z_loss {recipe.train.z_loss} and a {type(model).__name__} whose forward takes no z_loss",
            wanted="a model whose forward adds z_loss (log sum exp)^2 of each target to what is minimised",
            way_out="train.z_loss=0",
        )
