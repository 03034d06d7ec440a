"""The clipped objective of GRPO, from log-probabilities.

With p a token's probability, q that with which it was sampled, r the reference's, A its completion's advantage:

    loss = -min(p/q A, clip(p/q, 1 - epsilon, 1 + epsilon_high) A) + beta p/q (r/p - log(r/p) - 1)

(Schulman et al., 2017; Shao et al., 2024). The last bracket estimates KL(p || r) (Schulman, 2020); p/q before it makes
its gradient that of the divergence (DeepSeek-V3.2, 2025; TRL's default), also where p/q is 1. Tokens are added up into
completions as `loss` says. B completions, S tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clapas.loader.batch import NO_TARGET
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.rollouts import RolloutBatch


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """loss_B: of each completion, in its units. Sums over targets, without gradient: kl, None without a reference;
    clipped, the tokens whose ratio was clipped; difference, of |log p - log q|."""

    loss_B: Tensor
    kl: Tensor | None
    clipped: Tensor
    difference: Tensor


def policy_loss(log_p_BS: Tensor, batch: RolloutBatch, objective: Grpo) -> PolicyLoss:
    """The loss of completions. log_p_BS: of the targets, with gradient, 0 where there is none."""
    is_target_BS = batch.targets != NO_TARGET
    advantages_B1 = batch.advantages_B[:, None]
    low, high = objective.epsilon, objective.epsilon if objective.epsilon_high is None else objective.epsilon_high
    log_ratio_BS = log_p_BS - batch.sampled_BS
    ratio_BS = log_ratio_BS.exp()
    clipped_BS = ratio_BS.clamp(1 - low, 1 + high)
    loss_BS = -torch.minimum(ratio_BS * advantages_B1, clipped_BS * advantages_B1)
    kl = None
    if batch.reference_BS is not None:
        log_r_BS = batch.reference_BS - log_p_BS
        kl_BS = ratio_BS * (log_r_BS.exp() - log_r_BS - 1)
        loss_BS = loss_BS + objective.beta * kl_BS
        kl = (kl_BS.detach() * is_target_BS).sum()
    with torch.no_grad():
        too_low_BS = (ratio_BS < 1 - low) & (advantages_B1 < 0)
        too_high_BS = (ratio_BS > 1 + high) & (advantages_B1 > 0)
        clipped = ((too_low_BS | too_high_BS) & is_target_BS).sum()
        difference = (log_ratio_BS.abs() * is_target_BS).sum()
    return PolicyLoss(_summed(loss_BS * is_target_BS, batch.target_counts_B, objective), kl, clipped, difference)


def _summed(loss_BS: Tensor, counts_B: Tensor, objective: Grpo) -> Tensor:
    """Each completion's loss: the sum of its tokens', divided as `loss` says."""
    if objective.loss == "dapo":
        return loss_BS.sum(1)
    if objective.loss == "grpo":
        return loss_BS.sum(1) / counts_B.clamp(min=1)
    return loss_BS.sum(1) / objective.max_new_tokens
