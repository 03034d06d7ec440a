"""Where a run begins: at step 0, after the newest sound checkpoint of its folder, or where it branches off another."""

from __future__ import annotations

import sys

from clapas.checkpoint.ranks import Ranks
from clapas.checkpoint.reader import CheckpointReader, open_newest_sound
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phases
from clapas.recipe.recipe import Recipe
from clapas.train.branch import open_branch
from clapas.train.learning_rate import same_past
from clapas.train.other_run import (
    another_length,
    another_run,
    constant_part,
    documents_removed,
    lost_documents,
)
from clapas.train.run_folder import RunFolder
from clapas_data.manifest import Manifest


def find_start(
    recipe: Recipe,
    identity: str,
    manifest: Manifest,
    folder: RunFolder | None,
    ranks: Ranks | None = None,
    *,
    strict: bool = False,
) -> CheckpointReader | None:
    """The checkpoint to go on from: the newest sound one, if it is of this run. None: start at the beginning.

    A branch that has none yet begins with another run's.

    A run of another length, or of other stages, is the same run where the steps done would have been the same.
    manifest: of the data that the recipe reads. ranks: those that look together. strict: take the newest or none.
    Raises UserError where the folder holds another run, DamagedCheckpointError where no checkpoint of it is sound or,
    if strict, the newest is not.
    """
    reader, damaged = open_newest_sound(recipe.folder / "checkpoints", ranks)
    for problem in damaged:
        if folder:
            folder.ledger.append("damaged_checkpoint", segment=folder.segment, error=str(problem))
            print(f"damaged, and passed over: {problem}", file=sys.stderr)
    if damaged and (strict or reader is None):
        raise damaged[0]
    if reader is None:
        return None if recipe.branch is None else open_branch(recipe, ranks)
    old = Recipe.model_validate(reader.recipe)
    has_same_past = same_past(old, recipe, reader.step, _phases(old, recipe, manifest))
    if lost_documents(old, reader.manifest.identity, manifest):
        raise documents_removed(recipe, manifest, reader.folder, reader.step)
    if reader.manifest.identity != identity and not (has_same_past and _may_differ(old, recipe, reader, manifest)):
        raise another_run(old, recipe, reader.step)
    if not has_same_past:
        raise another_length(old, recipe, reader.step)
    return reader


def _phases(old: Recipe, new: Recipe, manifest: Manifest) -> tuple[Phases, Phases] | None:
    """The phases of two recipes with the mixtures that they have on the data, where both can read these."""
    if not any(phase.rules for recipe in (old, new) for phase in recipe.phases):
        return None
    try:
        return DataPlan.of_recipe(old, manifest).phases, DataPlan.of_recipe(new, manifest).phases
    except UserError:
        return None


def _may_differ(old: Recipe, new: Recipe, reader: CheckpointReader, manifest: Manifest) -> bool:
    """Whether two recipes with equal steps so far differ in nothing else, and the data are those of the checkpoint."""
    try:
        data_hash = DataPlan.of_recipe(old, manifest).hash
    except UserError:  # these data do not even have what the old recipe reads
        return False
    return old.identity_hash(data_hash) == reader.manifest.identity and constant_part(old) == constant_part(new)
