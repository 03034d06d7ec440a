"""Which objective a run has: the recipe's, or one given to `train`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from clapas.loader.batch import Batch
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.tune.distillation import distillation
from clapas.tune.dpo import dpo
from clapas.tune.grpo.objective import grpo
from clapas.tune.ipo import ipo
from clapas.tune.kto import kto
from clapas.tune.objective import LossFunction, Objective
from clapas.tune.orpo import orpo
from clapas.tune.sft import sft
from clapas_data.manifest import MANIFEST, Manifest


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


def _language_modelling(recipe: Recipe) -> Objective:
    z_loss = recipe.train.z_loss
    return Objective(partial(language_modelling, z_loss=z_loss) if z_loss else language_modelling)


def _of_section(make: Callable[[Any], Objective]) -> Callable[[Recipe], Objective]:
    """An objective that depends on its own section alone."""
    return lambda recipe: make(recipe.objective)


BUILDERS: dict[str, Callable[[Recipe], Objective]] = {
    "language_modelling": _language_modelling,
    "sft": sft,
    "grpo": grpo,
    "distillation": distillation,
    "dpo": _of_section(dpo),
    "ipo": _of_section(ipo),
    "kto": _of_section(kto),
    "orpo": _of_section(orpo),
}
"""`objective.name` -> what makes the objective of a recipe."""

RUNNING_TEXT = "running text"

EXAMPLES = {
    "language_modelling": ("conversations", RUNNING_TEXT),
    "sft": ("conversations",),
    "distillation": ("conversations", RUNNING_TEXT),
    "dpo": ("pairs",),
    "ipo": ("pairs",),
    "kto": ("labelled",),
    "grpo": ("prompts",),
    "orpo": ("pairs",),
}
"""`objective.name` -> the kinds of examples (`manifest.examples.kind`) that it reads."""

WITH_Z_LOSS = ("language_modelling", "sft")


def objective_of(recipe: Recipe, given: Objective | LossFunction | None) -> Objective:
    """The recipe's objective, or the one that was given. Raises UserError where they do not go together."""
    name, z_loss = recipe.objective.name, recipe.train.z_loss
    if given is not None and name != "language_modelling":
        raise UserError(
            "two objectives",
            where=recipe.place("objective.name"),
            found=f"objective.name {name} and an objective given to `train`",
            wanted="one of the two",
        )
    if z_loss and (given is not None or name not in WITH_Z_LOSS):
        own = "an objective of your own" if given is not None else f"objective {name}"
        raise UserError(
            f"{own} has no z-loss",
            where=recipe.place("train.z_loss"),
            found=f"train.z_loss {z_loss} and {'an objective given to `train`' if given is not None else name}",
            wanted="one of the two",
            way_out="train.z_loss=0"
            + (", and pass z_loss to the model in your objective" if given is not None else ""),
        )
    if given is None:
        return BUILDERS[name](recipe)
    return given if isinstance(given, Objective) else Objective(given)


def refuse_other_examples(recipe: Recipe, manifest: Manifest) -> None:
    """Raise UserError where the data are not of a kind that the objective reads."""
    name = recipe.objective.name
    wanted = EXAMPLES[name]
    found = RUNNING_TEXT if manifest.examples is None else manifest.examples.kind
    if found in wanted:
        return
    fitting = [other for other, kinds in EXAMPLES.items() if found in kinds]
    raise UserError(
        f"objective {name} cannot read these data",
        where=manifest.folder / MANIFEST,
        found=found,
        wanted=" or ".join(wanted),
        way_out=f"clapas data chat --kind {wanted[0]} makes such a folder"
        + (f"; these are for objective.name={' or '.join(fitting)}" if fitting else ""),
    )


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
