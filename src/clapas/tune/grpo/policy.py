"""What a model says of completions: their tokens' log-probabilities and entropies, at a temperature."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from clapas.tune.grpo.entropy import entropy_sum
from clapas.tune.grpo.rollouts import RolloutBatch
from clapas.tune.log_probabilities import log_probabilities


def scored(model: Any, batch: RolloutBatch, temperature: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """(log-probabilities of the batch's targets, (B, S), with gradient, 0 where there is none; the sum of their
    entropies; the experts' balance term, or None). model: or an engine around it."""
    criterion = partial(_judge, targets_BS=batch.targets, temperature=temperature)
    (log_p_BS, entropy), balance = model(batch.tokens, targets_BS=batch.targets, criterion=criterion)
    return log_p_BS, entropy, balance


def _judge(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    scaled_BSE = hidden_BSE if temperature == 1 else hidden_BSE / temperature  # of the logits, before they are made
    return log_probabilities(scaled_BSE, weight_VE, targets_BS), entropy_sum(scaled_BSE, weight_VE, targets_BS)
