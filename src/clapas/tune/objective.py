"""What a run minimises: a sum over units (target tokens, pairs), so that how a step is split changes nothing.

An objective is a few functions. The loop calls `begin` once in each segment, then for every step `prepare`, `counts`
and, for each micro-batch, `loss`; it divides by the step's count of units over all ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from clapas.engine.engine import Engine
from clapas.engine.ranks import Ranks
from clapas.loader.batch import Batch
from clapas.loader.plan import DataPlan
from clapas.recipe.recipe import Recipe

LossFunction = Callable[[Any, Batch], tuple[Any, ...]]
"""(model or engine, batch on its device) -> (what is minimised, a sum over the batch's units; each sample's loss, (B,),
without gradient, which is what is logged). A third may follow: name -> scalar without gradient, a sum over the batch's
units, whose mean over the step becomes a column of that name; all ranks give the same names."""


Evaluate = Callable[[Any, Batch], Mapping[str, tuple[Tensor, Tensor | int]]]
"""(model, held-out batch on its device) -> column -> (sum, count)."""


class Heart(Protocol):
    """How a rank tells its watchdog that it goes on (`train.heartbeat.Heart`)."""

    def beside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a beat before each call."""
        ...

    def beat(self) -> None:
        """It goes on."""
        ...


class Training(Protocol):
    """What an objective sees of the run that trains (`train.run.Run`). step: optimizer steps done."""

    recipe: Recipe
    ranks: Ranks
    engine: Engine
    plan: DataPlan
    step: int
    is_first: bool

    @property
    def heart(self) -> Heart:
        """For what takes long."""
        ...

    @property
    def identity(self) -> str:
        """The run's identity hash."""
        ...

    def record(self, event: str, **facts: Any) -> None:
        """Append an event to the ledger (rank 0)."""
        ...

    @property
    def path(self) -> Path:
        """The run's folder: the first rank alone writes there."""
        ...


def target_counts(batch: Batch) -> Tensor:
    """Each sample's target tokens, (B,)."""
    return batch.target_counts_B


@dataclass(frozen=True, slots=True)
class Objective:
    """What a run minimises.

    counts: how many units each sample's loss is a sum over, (B,), on the CPU. begin: before a segment's first step,
    with the weights that it begins with; all ranks call it together. prepare: makes of the micro-batches that were read
    those that are trained on; they stay as many. evaluate: (model, held-out batch on its device) -> column -> (sum,
    count), whose quotients over all batches and ranks validation logs; "loss" is one. None: the cross-entropy, and
    bits per byte. All ranks call it equally often, without gradients.
    """

    loss: LossFunction
    counts: Callable[[Batch], Tensor] = target_counts
    begin: Callable[[Training], None] | None = None
    prepare: Callable[[Training, list[Batch]], list[Batch]] | None = None
    evaluate: Evaluate | None = None
