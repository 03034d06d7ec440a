"""Whether the data speak the language of the model that a run begins with: its tokenizer's ids. Knows no torch.

An id is a row of the model's tables. Data of another tokenizer would find other tokens' rows there, and training would
go on without a word. Allowed are the model's own tokenizer, one that says that it extends it (`clapas tokenizer
extend`), one whose ids begin with all of the model's, and, where the recipe says so, any other.
"""

from __future__ import annotations

from pathlib import Path

from clapas.model.source_config import TOKENIZER, find_source
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas_data.encode import open_tokenizer, token_ids
from clapas_data.extension import read_extension
from clapas_data.manifest import Manifest, TokenizerRecord


def check_first_tokenizer(recipe: Recipe, manifest: Manifest) -> None:
    """Raise UserError where the shards' tokenizer is neither that of the model of `model.from` nor an extension of it.

    Nothing can be said of bare shards, nor of a model that has no tokenizer beside it or is no longer there.
    """
    model, data = recipe.model, manifest.tokenizer
    if model.from_ is None or model.other_tokenizer or data is None:
        return
    source = find_source(model.from_)
    folder = None if source is None else source.tokenizer()
    own = None if folder is None else open_tokenizer(folder).record
    if folder is None or own is None or own.hash == data.hash:
        return
    beside = recipe.data.path / TOKENIZER
    extension = read_extension(beside) if beside.is_dir() else None
    if extension is not None and extension.base_hash == own.hash:
        return
    if beside.is_dir() and token_ids(folder).items() <= token_ids(beside).items():
        return
    raise UserError(
        "the data were made with another tokenizer than the model of model.from learned",
        where=recipe.data.path,
        found=data.describe(),
        wanted=f"{own.describe()} of {folder}, or one that extends it",
        way_out=f"build the data with it: `clapas data build … --tokenizer {folder}`; or, to let the model learn other "
        "ids from scratch, model.other_tokenizer=true",
    )


def tokenizer_of(source: Path) -> TokenizerRecord | None:
    """The tokenizer that a model learned; None where it is not there. source: a Hugging Face folder or a checkpoint."""
    found = find_source(source)
    folder = None if found is None else found.tokenizer()
    return None if folder is None else open_tokenizer(folder).record
