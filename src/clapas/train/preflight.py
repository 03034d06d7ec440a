"""What can be known to be wrong before a rank is started. Knows no torch: milliseconds on a login node."""

from __future__ import annotations

from clapas.checkpoint.committed import committed_checkpoints
from clapas.engine.deepspeed_config import deepspeed_config
from clapas.loader.plan import DataPlan
from clapas.model.source_config import find_source, no_source
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.first_tokenizer import check_first_tokenizer
from clapas_data.encode import open_tokenizer
from clapas_data.manifest import Manifest, open_manifest


def preflight(recipe: Recipe, world_size: int) -> DataPlan:
    """Check a recipe against its data and the number of ranks. Raises UserError; returns the data plan."""
    deepspeed_config(recipe, world_size)  # deriving it finds what cannot work on so many ranks
    manifest = open_manifest(recipe.data.path)
    check_tokenizer(recipe, manifest)
    check_first_weights(recipe)
    check_first_tokenizer(recipe, manifest)
    if recipe.evaluation.tasks:
        check_tasks(recipe)
    return DataPlan.of_recipe(recipe, manifest)


def check_first_weights(recipe: Recipe) -> None:
    """The model that a run begins with is there, unless the run has a checkpoint of its own to go on from."""
    base = recipe.model.from_
    if base is None or recipe.branch is not None or committed_checkpoints(recipe.folder / "checkpoints"):
        return
    if find_source(base) is None:
        raise UserError(no_source(base), where=recipe.place("model.from"))


def check_tokenizer(recipe: Recipe, manifest: Manifest) -> None:
    """The shards' ids fit the model, and the tokenizer beside them is the one that made them."""
    tokenizer = manifest.tokenizer
    if tokenizer is None:  # bare Megatron shards: nothing is known of their tokenizer
        return
    if tokenizer.vocab_size > recipe.model.vocab_size:
        raise UserError(
            "the shards hold more token ids than the model has",
            where=f"{recipe.data.path / 'manifest.json'}",
            found=f"model.vocab_size {recipe.model.vocab_size}",
            wanted=f"at least {tokenizer.vocab_size}, the vocabulary of the shards' tokenizer",
            way_out=f"model.vocab_size={tokenizer.vocab_size}",
        )
    folder = recipe.data.path / "tokenizer"
    if folder.is_dir() and (found := open_tokenizer(folder).record) != tokenizer:
        raise UserError(
            "this tokenizer did not make these shards",
            where=folder,
            found=found.describe(),
            wanted=f"{tokenizer.describe()}, which the manifest names",
            way_out="put the right tokenizer there, or build the shards again with this one: `clapas data build`",
        )


def check_tasks(recipe: Recipe) -> None:
    """Every task of the recipe's can be run while it trains. Reads their files, and does not import `lm-eval`."""
    from clapas.evaluate.harness.library import require_library
    from clapas.evaluate.harness.local_tasks import find_local_tasks, is_local

    where = recipe.place("evaluation.tasks")
    for word in recipe.evaluation.tasks:
        if not is_local(word):
            raise UserError(
                "a run measures tasks in files alone, for a compute node fetches nothing",
                where=where,
                found=word,
                wanted="local, one of the tasks that ship, or a YAML file with its data beside it",
                way_out=f"`clapas eval CHECKPOINT --tasks {word}` runs lm-eval's own",
            )
    tasks = find_local_tasks(recipe.evaluation.tasks)
    for task in tasks:
        if not task.data_files:
            wanted = "dataset_path: json, with dataset_kwargs.data_files"
            raise UserError("a task in a run has its data in files beside it", where=task.path, wanted=wanted)
    require_library()
    if not (recipe.data.path / "tokenizer").is_dir():
        raise UserError("tasks need the tokenizer beside the data", where=recipe.data.path / "tokenizer")
    parallel = recipe.parallel
    is_whole = parallel.zero_stage < 3 and parallel.tensor == parallel.sequence == 1
    if not is_whole and (writing := [task.name for task in tasks if task.generates]):
        raise UserError(
            "a model in parts cannot generate while it trains",
            where=where,
            found=f"{', '.join(writing)}, with ZeRO-{parallel.zero_stage}, tensor {parallel.tensor}, "
            f"sequence {parallel.sequence}",
            wanted="tasks that judge texts (multiple choice), or ZeRO up to 2 and no shared layers",
            way_out="`clapas eval` on a checkpoint",
        )
