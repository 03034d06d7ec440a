"""Rollouts as batches: what is a target, and that splitting a step changes no loss."""

from __future__ import annotations

import torch

from clapas.loader.batch import NO_TARGET
from clapas.tune.grpo.advantages import group_advantages, standard_deviation
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.loss import policy_loss
from clapas.tune.grpo.rollouts import Completion, Rollout, RolloutBatch, collate_rollouts

PAD = 63
ROLLOUTS = [
    Rollout([5, 6, 7], Completion([20, 21, 1], [-1.0, -2.0, -0.5]), 1.0, 0),
    Rollout([5, 6, 7], Completion([22], [-3.0]), -1.0, 0),
    Rollout([8], Completion([23, 24, 25, 26, 27], [-1.0] * 5), 0.5, 1),
]


def objective(loss: str) -> Grpo:
    """With the defaults otherwise."""
    return Grpo.model_validate({"name": "grpo", "rewards": [{"name": "length"}], "loss": loss, "max_new_tokens": 8})


def log_p(batch: RolloutBatch) -> torch.Tensor:
    """Some log-probabilities of the targets, by the tokens alone."""
    return torch.where(batch.targets == NO_TARGET, 0.0, -0.1 * (batch.targets % 7) - 0.8)


def test_targets_are_the_completions_tokens() -> None:
    """After the prompt's last token, with the end; each with the log-probability that it was sampled with."""
    batch = collate_rollouts(ROLLOUTS, PAD, units_are_tokens=True)
    for row, rollout in enumerate(ROLLOUTS):
        places = (batch.targets[row] != NO_TARGET).nonzero()[:, 0].tolist()
        first, count = len(rollout.prompt) - 1, len(rollout.completion.tokens)
        assert places == list(range(first, first + count))
        assert batch.targets[row, places].tolist() == rollout.completion.tokens
        assert batch.sampled_BS[row, places].tolist() == rollout.completion.log_probabilities
        read = batch.tokens[row, : first + count].tolist()
        assert read == (rollout.prompt + rollout.completion.tokens)[:-1]
    assert batch.units_B.tolist() == [3, 1, 5]
    assert batch.source_ids.tolist() == [0, 0, 1]
    assert collate_rollouts(ROLLOUTS, PAD, units_are_tokens=False).units_B.tolist() == [1, 1, 1]


def test_a_step_split_in_two_has_the_same_sum() -> None:
    """Each completion's loss is its own, whatever stands beside it."""
    for loss in ("dapo", "grpo", "dr_grpo"):
        whole = collate_rollouts(ROLLOUTS, PAD, units_are_tokens=loss == "dapo")
        parts = [collate_rollouts(ROLLOUTS[a:b], PAD, units_are_tokens=loss == "dapo") for a, b in ((0, 1), (1, 3))]
        split = torch.cat([policy_loss(log_p(part), part, objective(loss)).loss_B for part in parts])
        torch.testing.assert_close(split, policy_loss(log_p(whole), whole, objective(loss)).loss_B)


def test_of_no_rollouts_a_row_is_computed_and_nothing_learned() -> None:
    """A rank all of whose prompts were removed still runs the model with the others."""
    batch = collate_rollouts([], PAD, units_are_tokens=False)
    assert batch.tokens.shape[0] == 1
    assert batch.target_count == batch.units_B.sum() == 0
    assert policy_loss(log_p(batch), batch, objective("grpo")).loss_B.tolist() == [0.0]


def test_the_ratio_is_clipped_on_one_side_only() -> None:
    """What is good may not grow by more than a fifth, what is bad may not shrink by more; the other ways are free."""
    batch = collate_rollouts(ROLLOUTS[:2], PAD, units_are_tokens=True)
    for factor, good, bad in ((1.5, 1.2, 1.5), (0.5, 0.5, 0.8)):
        shifted = batch.sampled_BS + torch.log(torch.tensor(factor)) * (batch.targets != NO_TARGET)
        found = policy_loss(shifted, batch, objective("dapo"))
        torch.testing.assert_close(found.loss_B, torch.tensor([-3 * good, 1 * bad]))
        assert int(found.clipped) == (3 if factor > 1 else 1)


def test_advantages_are_normalised_within_the_group() -> None:
    """Mean 0 and deviation 1; a group of equal rewards teaches nothing."""
    rewards = [1.0, 0.0, 0.0, 1.0]
    advantages = group_advantages(rewards, standard_deviation(rewards))
    assert abs(sum(advantages)) < 1e-12
    assert abs(standard_deviation(advantages) - 1) < 1e-3
    assert group_advantages([2.0] * 3, standard_deviation([2.0] * 3)) == [0.0] * 3
    assert group_advantages([3.0, 1.0], None) == [1.0, -1.0]
