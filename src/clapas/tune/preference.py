"""What all preference objectives share: the log-probability of each document's answer, pairs of them, and columns.

A folder of pairs has the preferred document and then the other, in the same sample, so a batch's documents are
chosen, rejected, chosen, rejected. Units are pairs, or documents where each has a label of its own: how a step is split
into micro-batches and ranks changes nothing. Columns have TRL's names. N documents of a batch, P = N / 2 pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clapas.loader.batch import NO_TARGET, Batch
from clapas.tune.log_probabilities import log_probabilities, sum_by_document
from clapas.tune.objective import Objective
from clapas.tune.reference import Reference

Columns = dict[str, Tensor]


class Pairs(NamedTuple):
    """Of each pair, (P,): how much more likely each answer became than under the reference, and its tokens."""

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


PairLosses = Callable[[Pairs], Tensor]
"""The loss of each pair, (P,)."""


class Answers(NamedTuple):
    """Of each document, (N,): the log-probability of its answer, and the answer's tokens.

    logps_BS: of each target. balance: what balances the experts' load in the units of a mean over targets; 0 without.
    """

    logps: Tensor
    tokens: Tensor
    logps_BS: Tensor
    balance: Tensor


def score_answers(model: Any, batch: Batch, targets_BS: Tensor | None = None) -> Answers:
    """One forward pass. targets_BS: which log-probabilities are asked for; by default those of the batch's targets.

    The sums are over the batch's own targets either way.
    """
    targets_BS = batch.targets if targets_BS is None else targets_BS
    logps_BS, balance = model(
        batch.tokens,
        batch.positions,
        batch.document_ids,
        document_starts=batch.document_starts,
        targets_BS=batch.targets,
        criterion=partial(log_probabilities, targets_BS=targets_BS),
    )
    assert batch.documents is not None
    assert batch.segments is not None
    is_answer_BS = batch.targets != NO_TARGET
    answers_BS = logps_BS if targets_BS is batch.targets else logps_BS * is_answer_BS
    count = len(batch.documents)
    return Answers(
        sum_by_document(answers_BS, batch.segments, count),
        sum_by_document(is_answer_BS.to(logps_BS.dtype), batch.segments, count),
        logps_BS,
        logps_BS.new_zeros(()) if balance is None else balance / max(1, batch.target_count),
    )


def answer_logps(model: Any, batch: Batch) -> Tensor:
    """(N,): the log-probability of each document's answer."""
    return score_answers(model, batch).logps


def document_counts(batch: Batch) -> Tensor:
    """Each sample's documents, (B,)."""
    assert batch.segments is not None
    is_inside = batch.segments >= 0
    begins = is_inside[:, 1:] & (batch.segments[:, 1:] != batch.segments[:, :-1])
    return is_inside[:, :1].sum(1) + begins.sum(1)


def pair_counts(batch: Batch) -> Tensor:
    """Each sample's pairs, (B,)."""
    return document_counts(batch) // 2


def by_sample(losses: Tensor, counts_B: Tensor) -> Tensor:
    """Each sample's sum of its units' losses, (B,), without gradient."""
    if not len(losses):
        return losses.new_zeros(len(counts_B))
    return torch.segment_reduce(losses.detach(), "sum", lengths=counts_B, unsafe=True)


def pair_columns(
    chosen_rewards: Tensor, rejected_rewards: Tensor, chosen_logps: Tensor, rejected_logps: Tensor
) -> Columns:
    """The columns of a preference run, each a sum over pairs. All arguments (P,)."""
    chosen, rejected = chosen_rewards.detach(), rejected_rewards.detach()
    return {
        "rewards/chosen": chosen.sum(),
        "rewards/rejected": rejected.sum(),
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype).sum(),
        "rewards/margins": (chosen - rejected).sum(),
        "logps/chosen": chosen_logps.detach().sum(),
        "logps/rejected": rejected_logps.detach().sum(),
    }


def pairwise(losses: PairLosses, beta: float) -> Objective:
    """An objective on pairs and a reference. beta: what a reward is of a log-ratio, in the columns."""
    reference = Reference(answer_logps)

    def loss(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Columns]:
        answers = score_answers(model, batch)
        ratios = answers.logps - reference.logps(batch)
        found_P = losses(Pairs(ratios[0::2], ratios[1::2], answers.tokens[0::2], answers.tokens[1::2]))
        columns = pair_columns(beta * ratios[0::2], beta * ratios[1::2], answers.logps[0::2], answers.logps[1::2])
        return found_P.sum() + answers.balance * len(found_P), by_sample(found_P, pair_counts(batch)), columns

    return Objective(loss, counts=pair_counts, begin=reference.begin, evaluate=partial(mean_over_pairs, loss))


def mean_over_pairs(loss: Callable[..., tuple[Any, ...]], model: Any, batch: Batch) -> Mapping[str, tuple[Tensor, int]]:
    """`Objective.evaluate` of a loss on pairs: it and its columns as means over pairs."""
    _, losses_B, columns = loss(model, batch)
    pairs = int(pair_counts(batch).sum())
    return {name: (value, pairs) for name, value in {"loss": losses_B.sum(), **columns}.items()}
