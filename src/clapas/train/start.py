"""Where a run begins: at step 0, or after the newest sound checkpoint of its folder, if that is of the same run."""

from __future__ import annotations

from clapas.checkpoint.reader import CheckpointReader, open_newest_sound
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.run_folder import RunFolder
from clapas.train.schedule import may_extend


def find_start(recipe: Recipe, identity: str, folder: RunFolder | None) -> CheckpointReader | None:
    """The checkpoint to go on from: the newest sound one, if it is of this run. None: start at the beginning.

    Raises UserError where the folder holds another run, DamagedCheckpointError where no checkpoint of it is sound.
    """
    reader, damaged = open_newest_sound(recipe.folder / "checkpoints")
    for problem in damaged:
        if folder:
            folder.ledger.append("damaged_checkpoint", segment=folder.segment, error=str(problem))
    if reader is None:
        if damaged:
            raise damaged[0]
        return None
    if reader.manifest.identity != identity:
        raise UserError(
            "this folder holds another run: a resume may not change what the run is",
            where=recipe.folder,
            found=_difference(recipe, reader) or "other data, or the data in another order",
            wanted=f"the recipe of the checkpoint at step {reader.step} ({recipe.folder / 'recipe.yaml'})",
            way_out="start another run: name=… or run_dir=…",
        )
    old = Recipe.model_validate(reader.recipe)
    if not may_extend(recipe.schedule_in_steps, reader.step, old.total_steps, recipe.total_steps):
        raise UserError(
            f"a {recipe.schedule.name} run cannot change its length at step {reader.step}",
            where=recipe.folder,
            found=f"{recipe.total_steps} steps",
            wanted=f"{old.total_steps} steps, which its learning rate was made for",
            way_out="start another run; wsd can be extended until its decay begins, constant and inverse_sqrt always",
        )
    return reader


def _difference(recipe: Recipe, reader: CheckpointReader) -> str:
    """The keys in which a recipe is another run than a checkpoint's."""
    old, new = (_flat(Recipe.model_validate(reader.recipe)), _flat(recipe))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return "; ".join(f"{key}: {new.get(key)} (was {old.get(key)})" for key in keys)


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
    return flat
