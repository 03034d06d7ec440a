"""Parameters that keep their initial values."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from torch import nn

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.callbacks.base import Callback


class Freezing(Callback):
    """Freezes the parameters that `train.freeze` names, before the optimizer sees the model.

    Raises UserError where a pattern names nothing, or where nothing is left to train.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def on_build(self, model: nn.Module) -> None:
        """Freeze. Tied parameters are one: whoever freezes the embedding freezes the head that is tied to it."""
        patterns = self._recipe.train.freeze
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                near = difflib.get_close_matches(pattern, names, n=1, cutoff=0)
                raise UserError(
                    "train.freeze: a pattern names no parameter",
                    where=self._recipe.place("train.freeze"),
                    found=repr(pattern),
                    wanted=f"a name such as {near[0]}, where * stands for any text",
                )
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise UserError(
                "train.freeze: nothing is left to train",
                where=self._recipe.place("train.freeze"),
                found=", ".join(patterns),
                way_out="leave a part of the model out of train.freeze",
            )
