"""Clapas: train open French foundation models on public supercomputers.

What a program needs, each fetched from its layer when first used, so that `import clapas` costs milliseconds:

    recipe = clapas.read_recipe("demo", ["train.steps=100"])     # a typed recipe, as on the command line
    clapas.train(recipe, callbacks=[...])                        # 0 done, 75 stopped early and saved
    model = clapas.load_model("runs/demo")                       # a run, a checkpoint or a Hugging Face folder
    loader = clapas.Loader.from_recipe(recipe)                   # the run's batches, for a loop of your own
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clapas.evaluate.load import load as load_model
    from clapas.loader.loader import Batch, Loader
    from clapas.recipe.errors import ClapasError, UserError
    from clapas.recipe.recipe import Recipe, read_recipe
    from clapas.train.callbacks.base import Callback
    from clapas.train.run import Run
    from clapas.train.train import train

_PUBLIC = {
    "Batch": "clapas.loader.loader:Batch",
    "Callback": "clapas.train.callbacks.base:Callback",
    "ClapasError": "clapas.recipe.errors:ClapasError",
    "Loader": "clapas.loader.loader:Loader",
    "Recipe": "clapas.recipe.recipe:Recipe",
    "Run": "clapas.train.run:Run",
    "UserError": "clapas.recipe.errors:UserError",
    "load_model": "clapas.evaluate.load:load",
    "read_recipe": "clapas.recipe.recipe:read_recipe",
    "train": "clapas.train",
}
"""Public name -> where it lives."""

__all__ = [
    "Batch",
    "Callback",
    "ClapasError",
    "Loader",
    "Recipe",
    "Run",
    "UserError",
    "load_model",
    "read_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'clapas' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
