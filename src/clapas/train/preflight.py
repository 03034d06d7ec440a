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
