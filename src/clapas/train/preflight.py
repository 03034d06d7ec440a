"""What can be known to be wrong before a rank is started. Knows no torch: milliseconds on a login node."""

from __future__ import annotations

import hashlib

from clapas.checkpoint.committed import committed_checkpoints
from clapas.engine.deepspeed_config import deepspeed_config
from clapas.loader.plan import DataPlan
from clapas.model.source_config import find_source, no_source
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas_data.encode import open_tokenizer, token_ids
from clapas_data.extension import read_extension
from clapas_data.manifest import Manifest, open_manifest


def preflight(recipe: Recipe, world_size: int) -> DataPlan:
    """Check a recipe against its data and the number of ranks. Raises UserError; returns the data plan."""
    deepspeed_config(recipe, world_size)  # deriving it finds what cannot work on so many ranks
    manifest = open_manifest(recipe.data.path)
    check_tokenizer(recipe, manifest)
    check_base(recipe, manifest)
    return DataPlan.of_recipe(recipe, manifest)


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


def check_base(recipe: Recipe, manifest: Manifest) -> None:
    """The model that a run begins with is there, and the shards' ids mean to it what they meant when it learned.

    The shards' tokenizer is that model's own, or an extension of it: each of the model's tokens has its id.
    """
    model = recipe.model
    if model.from_ is None or recipe.branch is not None:
        return
    source = find_source(model.from_)
    if source is None and not committed_checkpoints(recipe.folder / "checkpoints"):
        raise UserError(no_source(model.from_), where=recipe.place("model.from"))
    base, shards = source and source.tokenizer(), manifest.tokenizer
    if base is None or shards is None or model.other_tokenizer:
        return
    own = hashlib.sha256((base / "tokenizer.json").read_bytes()).hexdigest()
    folder = recipe.data.path / "tokenizer"
    extension = read_extension(folder)
    if own == shards.hash or (extension is not None and extension.base_hash == own):
        return
    if (folder / "tokenizer.json").is_file() and token_ids(base).items() <= token_ids(folder).items():
        return
    raise UserError(
        "the shards were made by another tokenizer than the model learned with",
        where=recipe.data.path / "manifest.json",
        found=shards.describe(),
        wanted=f"SHA-256 {own[:16]}…, the tokenizer of {model.from_}, or one that gives its tokens the same ids",
        way_out=f"build the shards with it (`clapas data build CORPUS --tokenizer {base} --out …`); extend it (`clapas "
        "tokenizer extend`); or model.other_tokenizer=true, for a model that is to learn all tokens anew",
    )
