"""The weights that a run begins with, where they are another model's (`model.from`).

What they are is part of what the run is, by their content and not by where they lie: the seal of a checkpoint, or the
hash of a Hugging Face folder's files. Rank 0 finds it out and tells the others. Once the run has a checkpoint itself,
the model that it began with may be gone.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from clapas.checkpoint.committed import COMMITTED
from clapas.checkpoint.ranks import Ranks
from clapas.model.config import ModelConfig
from clapas.model.hf_weights import EMBEDDING
from clapas.model.seal import RECORD, files_of, seal_of
from clapas.model.source import WeightSource, open_source
from clapas.model.source_config import Source, find_source, model_values, no_source
from clapas.model.vocabulary import grown
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.recipe import Recipe
from clapas.train.first_tokenizer import first_extension
from clapas.train.run_folder import read_run_recipe


def with_first_weights(recipe: Recipe) -> Recipe:
    """The recipe with the place and the seal of the weights that it begins with, where these are another model's.

    A run that goes on keeps the checkpoint that it began with, however far the run that wrote that has gone since; a
    branch begins with a checkpoint of its own, in which adapters alone have no base. Raises UserError where the weights
    are not there, and were not when the run began, or are others than the recipe's `from_seal`.
    """
    model = recipe.model
    if model.from_ is None or (recipe.branch is not None and recipe.lora is None):
        return recipe
    began = _model_that_ran(recipe)
    source, seal = _source(model, began), model.from_seal or (began and began.from_seal)
    if source is not None:
        try:
            model_values(model.facts(), source.config())
        except ValueError as error:
            raise UserError(str(error), where=recipe.place("model.from")) from None
        found = seal_of(source, recipe.folder)
        if model.from_seal is not None and model.from_seal != found:
            raise UserError(
                "these are not the weights that the run begins with",
                where=recipe.place("model.from_seal"),
                found=f"seal {found} in {source.folder}",
                wanted=model.from_seal,
                way_out="bring those weights back, or start another run: model.from_seal=null and a run_dir of its own",
            )
        model, seal = model.model_copy(update={"from_": source.folder}), found
    if seal is None:
        raise UserError(no_source(model.from_ or Path()), where=recipe.place("model.from"))
    return recipe.model_copy(update={"model": model.model_copy(update={"from_seal": seal})})


def _model_that_ran(recipe: Recipe) -> ModelConfig | None:
    """The model of the run in the recipe's folder, if it began with another's weights."""
    if not (recipe.folder / "recipe.yaml").is_file():
        return None
    model = read_run_recipe(recipe.folder).model
    return model if model.from_seal else None


def _source(model: ModelConfig, began: ModelConfig | None) -> Source | None:
    """Where the weights are: of a run, those of the checkpoint that this one began with, which may be gone."""
    assert model.from_ is not None
    if began is not None and began.from_ is not None and began.from_.parent == model.from_ / "checkpoints":
        return find_source(began.from_)
    return find_source(model.from_)


def record_seal(recipe: Recipe, source: WeightSource) -> None:
    """Keep what the files were, for the next start of the run."""
    if not (source.folder / COMMITTED).is_file():
        record = {"seal": recipe.model.from_seal, **files_of(source.folder)}
        atomic_write(recipe.folder / RECORD, orjson.dumps(record, option=orjson.OPT_INDENT_2))


def open_first_weights(recipe: Recipe, ranks: Ranks | None = None) -> WeightSource:
    """The weights that a recipe begins with, as large as its model: a larger vocabulary has its rows already.

    Where the data's tokenizer extends the model's (`clapas tokenizer extend`), new ids get the mean of their pieces.
    Raises UserError where they are not there or not whole. Collective, where ranks are given.
    """
    assert recipe.model.from_ is not None
    source, size = open_source(recipe.model.from_, ranks), recipe.model.vocab_size
    if recipe.lora is not None and (rows := source.shape(EMBEDDING)[0]) != size:
        raise UserError(
            "adapters leave the embedding as it is: new ids would never be learned",
            where=recipe.place("model.vocab_size"),
            found=f"{size} ids, of which {source.folder} has {rows}",
            way_out="train the larger vocabulary without lora first, and begin with that run",
        )
    extension = first_extension(recipe, source.folder, source.shape(EMBEDDING)[0])
    if extension is None:
        return grown(source, size)
    return grown(source, size, extension.base_size, extension.pieces)
