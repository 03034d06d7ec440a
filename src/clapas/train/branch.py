"""A run that begins after another run's checkpoint: to decay its learning rate, on other data, or further than it went.

Both keep their folders and their evidence. The branch is a run of its own, and the seal of the checkpoint is part of
what it is. Once it has a checkpoint itself, the one that it began with may be gone.
"""

from __future__ import annotations

from pathlib import Path

from clapas.checkpoint.committed import COMMITTED, committed_checkpoints
from clapas.checkpoint.ranks import Alone, Ranks
from clapas.checkpoint.reader import CheckpointReader, open_together
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.run_folder import read_run_recipe


def with_seal(recipe: Recipe) -> Recipe:
    """The recipe with the seal of the checkpoint that it begins with, if it is a branch.

    Raises UserError where the checkpoint is not there, and was not when the branch began, or has another seal.
    """
    branch = recipe.branch
    if branch is None:
        return recipe
    path = branch.checkpoint / COMMITTED
    found = path.read_text().strip() if path.is_file() else _recorded_seal(recipe)
    if found is None:
        raise _missing(recipe, branch.checkpoint)
    if branch.seal is not None and branch.seal != found:
        raise UserError(
            "this is not the checkpoint that the branch begins with",
            where=recipe.place("branch.seal"),
            found=f"seal {found} in {branch.checkpoint}",
            wanted=branch.seal,
            way_out="bring that checkpoint back, or start another branch: branch.seal=null and a run_dir of its own",
        )
    return recipe.model_copy(update={"branch": branch.model_copy(update={"seal": found})})


def _recorded_seal(recipe: Recipe) -> str | None:
    """The seal with which the branch once began."""
    if not (recipe.folder / "recipe.yaml").is_file():
        return None
    before = read_run_recipe(recipe.folder).branch
    return None if before is None else before.seal


def _missing(recipe: Recipe, checkpoint: Path) -> UserError:
    """That there is no such checkpoint; and which there are, where a run's folder was given."""
    there = committed_checkpoints(checkpoint / "checkpoints") or committed_checkpoints(checkpoint.parent)
    names = ", ".join(path.name for path in there)
    return UserError(
        "branch.checkpoint is not a committed checkpoint",
        where=recipe.place("branch.checkpoint"),
        found=checkpoint,
        wanted=f"one of {names} in {there[0].parent}" if there else "a run's checkpoints/step-… folder",
        way_out=f"branch.checkpoint={there[-1]}"
        if there
        else "`clapas checkpoint list RUN` tells which there are; checkpoint.keep_every keeps some for good",
    )


def open_branch(recipe: Recipe, ranks: Ranks | None = None) -> CheckpointReader:
    """The checkpoint that a branch begins with, verified by all ranks together.

    Raises DamagedCheckpointError, and UserError where the branch cannot go on from it.
    """
    assert recipe.branch is not None
    reader = open_together(recipe.branch.checkpoint, ranks or Alone())
    if "train" not in reader.recipe:
        raise UserError(
            "an imported model is no run to branch off",
            where=recipe.place("branch.checkpoint"),
            found=recipe.branch.checkpoint,
            way_out=f"begin with its weights: model.from={recipe.branch.checkpoint}",
        )
    old = Recipe.model_validate(reader.recipe)
    wanted, given = _what_the_state_is(old), _what_the_state_is(recipe)
    if differing := [key for key in wanted if wanted[key] != given[key]]:
        raise UserError(
            "a branch cannot change what its checkpoint is the state of",
            where=recipe.place(differing[0]),
            found="; ".join(f"{key}: {given[key]}" for key in differing),
            wanted="; ".join(f"{key}: {wanted[key]}" for key in differing),
            way_out=f"begin with the recipe of the other run: `clapas train {reader.folder.parents[1]}/recipe.yaml …`",
        )
    if reader.step >= recipe.total_steps:
        raise UserError(
            "a branch has no step to do",
            where=recipe.place("train.steps"),
            found=f"{recipe.total_steps:,} steps in all",
            wanted=f"more than the {reader.step:,} that are done: steps count on from the checkpoint",
            way_out=f"train.steps={reader.step + max(1, reader.step // 10)}",
        )
    return reader


def _what_the_state_is(recipe: Recipe) -> dict[str, object]:
    """Keys on which the tensors of a checkpoint depend, and their values."""
    model = {f"model.{key}": value for key, value in recipe.model.facts().items()}
    optimizer = recipe.optimizer
    return {
        **model,
        "optimizer.name": optimizer.name,
        "optimizer.mup": optimizer.mup,
        "optimizer.ema_decay": None if optimizer.ema_decay is None else "given",
        "precision": recipe.precision,
        "lora": recipe.lora and {**recipe.lora.identity(), "base": recipe.model.from_seal},
    }
