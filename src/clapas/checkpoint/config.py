"""The recipe's section on when a run saves its state and what it keeps."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from clapas.recipe.typed import Section


class CheckpointConfig(Section):
    """every: steps between two checkpoints (the last step always saves); keep: how many of the newest stay on disk."""

    also_called: ClassVar[dict[str, str]] = {
        "save_every": "every",
        "save_steps": "every",
        "save_interval": "every",
        "save_total_limit": "keep",
    }

    every: PositiveInt = 1000
    keep: Annotated[int, Field(ge=1)] = 2
