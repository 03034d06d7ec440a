"""What a run minimises: a sum over target tokens, so that how a step is split changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from clapas.loader.batch import Batch

Objective = Callable[[Any, Batch], tuple[Tensor, Tensor]]
"""(model or engine, batch on its device) -> (what is minimised, a sum over the batch's target tokens; each sample's
loss, (B,), without gradient, which is what is logged). The loop divides both by the step's count of targets over all
ranks."""


def language_modelling(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The cross-entropies in nats of each next token, summed; with experts also what balances their load."""
    return model(
        batch.tokens,
        batch.positions,
        batch.document_ids,
        document_starts=batch.document_starts,
        targets_BS=batch.targets,
    )
