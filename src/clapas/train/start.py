"""Where a run begins: at step 0, after the newest sound checkpoint of its folder, or where it branches off another."""

from __future__ import annotations

import sys

from clapas.checkpoint.ranks import Ranks
from clapas.checkpoint.reader import CheckpointReader, open_newest_sound
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.branch import open_branch
from clapas.train.learning_rate import same_past
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
    has_same_past = same_past(old, recipe, reader.step)
    if reader.manifest.identity != identity and not (has_same_past and _may_differ(old, recipe, reader, manifest)):
        stages = "; a stage with a `schedule` of its own may be added" if recipe.stages else ""
        raise UserError(
            "this folder holds another run: a resume may not change what the run is",
            where=recipe.folder,
            found=_difference(old, recipe) or "other data, or the data in another order",
            wanted=f"the recipe of the checkpoint at step {reader.step} ({recipe.folder / 'recipe.yaml'})",
            way_out=f"start another run: name=… or run_dir=…{stages}",
        )
    if not has_same_past:
        raise UserError(
            f"a {recipe.schedule.name} run cannot change its length at step {reader.step}",
            where=recipe.folder,
            found=f"{recipe.total_steps} steps",
            wanted=f"{old.total_steps} steps, which its learning rate was made for",
            way_out="start another run; wsd can be extended until its decay begins, constant and inverse_sqrt always; "
            "or add a stage with a `schedule` of its own",
        )
    return reader


def _may_differ(old: Recipe, new: Recipe, reader: CheckpointReader, manifest: Manifest) -> bool:
    """Whether two recipes with equal steps so far differ in nothing else, and the data are those of the checkpoint."""
    try:
        data_hash = DataPlan.of_recipe(old, manifest).hash
    except UserError:  # these data do not even have what the old recipe reads
        return False
    return old.identity_hash(data_hash) == reader.manifest.identity and _constant(old) == _constant(new)


def _constant(recipe: Recipe) -> dict[str, object]:
    """The part of a run's identity that holds for all of its steps."""
    by_step = ("data", "schedule", "global_batch_size", "batch_ramp", "stages")
    constant = {key: value for key, value in recipe.identity("").items() if key not in by_step}
    optimizer = {key: value for key, value in constant["optimizer"].items() if key != "lr"}
    return {**constant, "optimizer": optimizer, "document_mask": recipe.data.document_mask}


def _difference(old: Recipe, new: Recipe) -> str:
    """The keys in which a recipe is another run than a checkpoint's."""
    before, after = _flat(old), _flat(new)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return "; ".join(f"{key}: {after.get(key)} (was {before.get(key)})" for key in keys)


def _flat(recipe: Recipe) -> dict[str, object]:
    """The identity's dotted keys, the data's hash aside."""
    flat: dict[str, object] = {}
    names = {"seed": "seed", "precision": "precision", "global_batch_size": "train.global_batch_size"}
    for name, value in recipe.identity("").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": item for key, item in value.items()})
        elif name in names:
            flat[names[name]] = value
    flat["data.sequence_length"] = recipe.data.sequence_length
    flat["data.mixture"] = recipe.data.mixture
    flat["train.batch_ramp"] = recipe.train.batch_ramp
    for number, stage in enumerate(recipe.stages or ()):
        given = stage.model_dump(exclude={"name", "micro_batch_size"}, exclude_none=True)
        flat.update({f"stages[{number}].{key}": value for key, value in given.items()})
    return flat
