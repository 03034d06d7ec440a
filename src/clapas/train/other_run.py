"""Whether a run's folder holds another run than a recipe's. Knows no torch: asked before a job is queued, too."""

from __future__ import annotations

import re
from pathlib import Path

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.loader.plan import DataPlan
from clapas.loader.readers import plan_that_ran
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.learning_rate import same_past
from clapas.train.run_folder import read_run_recipe
from clapas.tune.config import Distillation
from clapas_data.manifest import Manifest

IDENTITY = re.compile(r"^# identity: (\w+)$", re.MULTILINE)
"""In the head of RUN/recipe.yaml, see `RunFolder.begin_segment`."""


def refuse_other_run(recipe: Recipe, plan: DataPlan) -> None:
    """Raise UserError where the recipe's folder holds another run, as far as its recipe.yaml tells.

    plan: of the recipe's data. The last word is `train.start`'s, which reads the checkpoint itself: it alone
    knows whether the data of a run with other steps are the same, and where a branch or a teacher comes from.
    """
    steps = [step_of(folder) for folder in committed_checkpoints(recipe.folder / "checkpoints")]
    is_unsealed = isinstance(recipe.objective, Distillation) and recipe.objective.seal is None
    if not steps or recipe.branch is not None or is_unsealed or not (recipe.folder / "recipe.yaml").is_file():
        return
    old, step = read_run_recipe(recipe.folder), max(steps)
    if recipe.model.from_ is not None and recipe.model.from_seal is None:  # the start's to find out
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"from_seal": old.model.from_seal})})
    if recipe.lora is not None and recipe.lora.from_ is not None and recipe.lora.seal is None and old.lora is not None:
        recipe = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"seal": old.lora.seal})})
    written = IDENTITY.search((recipe.folder / "recipe.yaml").read_text(encoding="utf-8"))
    is_same = written is not None and written[1] == recipe.identity_hash(plan.hash)
    if not is_same and written is not None and lost_documents(old, written[1], plan.manifest):
        raise documents_removed(recipe, plan.manifest, committed_checkpoints(recipe.folder / "checkpoints")[-1], step)
    has_same_past = same_past(old, recipe, step)
    if not is_same and not (has_same_past and constant_part(old) == constant_part(recipe)):
        raise another_run(old, recipe, step)
    if not has_same_past:
        raise another_length(old, recipe, step)


def another_run(old: Recipe, recipe: Recipe, step: int) -> UserError:
    """The error where a folder with a checkpoint at `step` of the recipe `old` would get another run."""
    stages = "; a stage with a `schedule` of its own may be added" if recipe.stages else ""
    return UserError(
        "this folder holds another run: a resume may not change what the run is",
        where=recipe.folder,
        found=_difference(old, recipe) or "other data, or the data in another order",
        wanted=f"the recipe of the checkpoint at step {step} ({recipe.folder / 'recipe.yaml'})",
        way_out=f"start another run: name=… or run_dir=…{stages}",
    )


def lost_documents(old: Recipe, identity: str, manifest: Manifest) -> bool:
    """Whether a run read an earlier revision of these data, with documents that are removed since."""
    if manifest.removed is None:
        return False
    plan = plan_that_ran(old, identity, manifest)
    return plan is not None and plan.manifest.revision < manifest.revision


def documents_removed(recipe: Recipe, manifest: Manifest, checkpoint: Path, step: int) -> UserError:
    """The error where documents were removed from the data since the run of a folder read them."""
    assert manifest.removed is not None
    last = manifest.removed.removals[-1]
    return UserError(
        "documents were removed from the data that this run reads: removing documents starts a new run",
        where=recipe.folder,
        found=f"{recipe.data.path}, revision {manifest.revision}: {last.documents:,} documents left it on {last.date}",
        wanted=f"the revision that the checkpoint at step {step} was trained on, which is no longer to be read",
        way_out=f"go on in a run of its own, which never reads them: run_dir=… branch.checkpoint={checkpoint}",
    )


def another_length(old: Recipe, recipe: Recipe, step: int) -> UserError:
    """The same where the run would get a length that the steps done were not made for."""
    return UserError(
        f"a {recipe.schedule.name} run cannot change its length at step {step}",
        where=recipe.folder,
        found=f"{recipe.total_steps} steps",
        wanted=f"{old.total_steps} steps, which its learning rate was made for",
        way_out="start another run; wsd can be extended until its decay begins, constant and inverse_sqrt always; "
        "or add a stage with a `schedule` of its own",
    )


def constant_part(recipe: Recipe) -> dict[str, object]:
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
    for key in ("mixture", "temperature", "token_budgets", "max_epochs", "max_epochs_by_source"):
        flat[f"data.{key}"] = getattr(recipe.data, key)
    flat["train.batch_ramp"] = recipe.train.batch_ramp
    for number, stage in enumerate(recipe.stages or ()):
        given = stage.model_dump(exclude={"name", "micro_batch_size"}, exclude_none=True)
        flat.update({f"stages[{number}].{key}": value for key, value in given.items()})
    return flat
