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
from clapas_data.extension import Extension, read_extension
from clapas_data.manifest import Manifest


def check_first_tokenizer(recipe: Recipe, manifest: Manifest) -> None:
    """Raise UserError where the shards' tokenizer is neither that of the model of `model.from` nor an extension of it.

    Nothing can be said of bare shards, nor of a model that has no tokenizer beside it or is no longer there.
    """
    model, data = recipe.model, manifest.tokenizer
    if model.from_ is None or model.other_tokenizer or data is None:
        return
    source = find_source(model.from_)
    own = None if source is None else source.tokenizer_hash()
    if source is None or own is None or own == data.hash:
        return
    beside, folder = recipe.data.path / TOKENIZER, source.tokenizer()
    extension = read_extension(beside) if beside.is_dir() else None
    if extension is not None and extension.base_hash == own:
        return
    if folder is not None and beside.is_dir() and token_ids(folder).items() <= token_ids(beside).items():
        return
    described = f"SHA-256 {own[:16]}…" if folder is None else f"{open_tokenizer(folder).record.describe()} of {folder}"
    raise UserError(
        "the data were made with another tokenizer than the model of model.from learned",
        where=recipe.data.path,
        found=data.describe(),
        wanted=f"{described}, or one that extends it",
        way_out=f"build the data with it: `clapas data build … --tokenizer {folder or 'FOLDER'}`; or, to let the model "
        "learn other ids from scratch, model.other_tokenizer=true",
    )


def first_extension(recipe: Recipe, source: Path, rows: int) -> Extension | None:
    """What the data's tokenizer has beyond that of the model of `model.from`: ids that no row of it is of yet.

    source: where that model lies. rows: of its table. Raises UserError where nobody can say whether it knows them.
    """
    extension, found = read_extension(recipe.data.path / TOKENIZER), find_source(source)
    if extension is None or recipe.model.other_tokenizer:
        return None
    own = None if found is None else found.tokenizer_hash()
    if own is None and rows > extension.base_size:
        raise UserError(
            "the data's tokenizer has new words, and nobody says whether the model of model.from has learned them",
            where=source,
            found=f"{rows} rows and no tokenizer",
            wanted=f"the tokenizer that it learned, the extended one or its base (SHA-256 {extension.base_hash[:16]}…)",
            way_out="put its tokenizer.json and tokenizer_config.json there",
        )
    return extension if own in (None, extension.base_hash) else None
