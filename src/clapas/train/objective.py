"""What a run minimises: a sum over target tokens, so that how a step is split changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from clapas.loader.batch import Batch

Objective = Callable[[Any, Batch], Tensor]
"""(model or engine, batch on its device) -> a sum over the batch's target tokens. The loop divides it by the step's
count of targets over all ranks."""


def language_modelling(model: Any, batch: Batch) -> Tensor:
    """The cross-entropies in nats of each next token, summed."""
    return model(batch.tokens, batch.positions, batch.document_ids, targets_BS=batch.targets)
