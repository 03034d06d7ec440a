"""Validation while training: loss and bits per byte on the held-out documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clapas.recipe.recipe import Recipe
from clapas.train.callbacks import Callback

if TYPE_CHECKING:
    from clapas.train.loop import Run


class Validation(Callback):
    """x"""

    def __init__(self, recipe: Recipe, listeners: Sequence[Callback]) -> None:
        self._listeners = listeners
