"""The recipe's section on when a run saves its state and what it keeps."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from clapas.recipe.typed import Section


class CheckpointConfig(Section):
    """every: steps between two checkpoints (the last step always saves). keep: how many of the newest stay on disk.

    keep_every: also those of every so-manieth step stay, for good. asynchronous: training goes on while a checkpoint is
    written from a copy in host memory, as large as the rank's share of the state (12 bytes a parameter with AdamW).
    """

    also_called: ClassVar[dict[str, str]] = {
        "save_every": "every",
        "save_steps": "every",
        "save_interval": "every",
        "save_total_limit": "keep",
        "keep_period": "keep_every",
        "async": "asynchronous",
        "async_save": "asynchronous",
        "async_mode": "asynchronous",
    }

    every: PositiveInt = 1000
    keep: Annotated[int, Field(ge=1)] = 2
    keep_every: PositiveInt | None = None
    asynchronous: bool = True
