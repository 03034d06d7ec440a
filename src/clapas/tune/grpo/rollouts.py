"""Completions of prompts as batches to train on. Shapes: B completions, S tokens of the longest with its prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clapas.loader.batch import LENGTH_STEP, NO_TARGET, Batch


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine generated. tokens: with the token that ended it, unless it was cut.

    log_probabilities: of each token when it was sampled, in nats, at the temperature of sampling.
    """

    tokens: list[int]
    log_probabilities: list[float]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A completion, judged. source_id: as `Batch.source_ids`."""

    prompt: list[int]
    completion: Completion
    advantage: float
    source_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch(Batch):
    """Completions after their prompts, a row each: targets are the completions' tokens.

    advantages_B: of each completion. sampled_BS: log-probabilities of targets when they were sampled. reference_BS:
    under the reference model, or None without one; both 0 where there is no target. units_B: of the loss.
    told: what the step's columns say, means over the step. units_per_token: of the step, over all ranks.
    """

    advantages_B: Tensor
    sampled_BS: Tensor
    units_B: Tensor
    reference_BS: Tensor | None = None
    told: Mapping[str, float] = field(default_factory=dict)
    units_per_token: float = 1.0


def collate_rollouts(rollouts: Sequence[Rollout], pad: int, *, units_are_tokens: bool) -> RolloutBatch:
    """Rollouts as a batch; of none, one row without a target, so that every rank computes equally often."""
    longest = max((len(each.prompt) + len(each.completion.tokens) for each in rollouts), default=2)
    length = -(-(longest - 1) // LENGTH_STEP) * LENGTH_STEP
    rows = max(1, len(rollouts))
    tokens_BS = torch.full((rows, length + 1), pad)
    targets_BS = torch.full((rows, length), NO_TARGET)
    sampled_BS = torch.zeros(rows, length)
    for row, each in enumerate(rollouts):
        start, stop = len(each.prompt) - 1, len(each.prompt) - 1 + len(each.completion.tokens)
        tokens_BS[row, : stop + 1] = torch.tensor(each.prompt + each.completion.tokens)
        targets_BS[row, start:stop] = tokens_BS[row, start + 1 : stop + 1]
        sampled_BS[row, start:stop] = torch.tensor(each.completion.log_probabilities)
    counts_B = (targets_BS != NO_TARGET).sum(1)
    return RolloutBatch(
        tokens=tokens_BS[:, :-1].contiguous(),
        targets=targets_BS,
        positions=None,
        document_ids=None,
        document_starts=None,
        target_count=int(counts_B.sum()),
        source_ids=torch.tensor([each.source_id for each in rollouts] or [0]),
        target_counts_B=counts_B,
        advantages_B=torch.tensor([each.advantage for each in rollouts] or [0.0]),
        sampled_BS=sampled_BS,
        units_B=counts_B if units_are_tokens else (counts_B > 0).long(),
    )
