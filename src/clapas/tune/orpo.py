"""Odds-ratio preference optimisation, which needs no reference (Hong et al., 2024, arXiv:2403.07691).

    loss = NLL(chosen) - beta log sigmoid(log odds(chosen) - log odds(rejected)),   odds = p / (1 - p)

log p is the mean over an answer's tokens. NLL is the mean cross-entropy of the tokens of all chosen documents of a
step, over its micro-batches and ranks, prompt included: what TRL takes over one micro-batch. beta: the paper's lambda.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from clapas.loader.batch import NO_TARGET, Batch
from clapas.tune.config import Orpo
from clapas.tune.objective import Objective, Training
from clapas.tune.preference import Columns, by_sample, mean_over_pairs, pair_columns, pair_counts, score_answers

LOG_HALF = -0.6931471805599453
"""Below it 1 - exp(x) is taken from exp, above from expm1 (Mächler, 2012, Accurately computing log(1 - exp(-|a|)))."""


def orpo(config: Orpo) -> Objective:
    """The objective `orpo`."""
    step = OrpoStep(config.beta)

    def evaluate(model: Any, batch: Batch) -> Any:
        step.tokens_per_pair = tokens_per_pair(*count_chosen([batch]))
        return mean_over_pairs(step.loss, model, batch)

    return Objective(step.loss, counts=pair_counts, prepare=step.prepare, evaluate=evaluate)


class OrpoStep:
    """The loss of one step at a time. tokens_per_pair: of the chosen documents of the step, over all ranks."""

    def __init__(self, beta: float) -> None:
        self.beta, self.tokens_per_pair = beta, 1.0

    def prepare(self, run: Training, batches: list[Batch]) -> list[Batch]:
        """Agree on how many tokens the step's mean is over."""
        self.tokens_per_pair = tokens_per_pair(*run.ranks.sum_all(count_chosen(batches)))
        return batches

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor, Columns]:
        """`Objective.loss`."""
        chosen_BS = chosen_targets(batch)
        is_chosen_BS = chosen_BS != NO_TARGET
        answers = score_answers(model, batch, torch.where(is_chosen_BS, chosen_BS, batch.targets))
        nll_B = -(answers.logps_BS * is_chosen_BS).sum(1) / self.tokens_per_pair
        means = answers.logps / answers.tokens.clamp(min=1)
        chosen_P, rejected_P = means[0::2], means[1::2]
        odds_P = chosen_P - rejected_P - (log1mexp(chosen_P) - log1mexp(rejected_P))
        ratios_P = logsigmoid(odds_P)
        columns = pair_columns(self.beta * chosen_P, self.beta * rejected_P, chosen_P, rejected_P) | {
            "nll_loss": nll_B.detach().sum(),
            "log_odds_ratio": ratios_P.detach().sum(),
            "log_odds_chosen": odds_P.detach().sum(),
        }
        losses_B = nll_B.detach() + by_sample(-self.beta * ratios_P, pair_counts(batch))
        total = nll_B.sum() - self.beta * ratios_P.sum() + answers.balance * len(ratios_P)
        return total, losses_B, columns


def count_chosen(batches: Sequence[Batch]) -> list[float]:
    """[tokens of the chosen documents that are predicted, pairs]."""
    tokens = sum(int((chosen_targets(batch) != NO_TARGET).sum()) for batch in batches)
    return [float(tokens), float(sum(int(pair_counts(batch).sum()) for batch in batches))]


def tokens_per_pair(tokens: float, pairs: float) -> float:
    """Their quotient; of nothing 1, of which nothing is a multiple."""
    return max(1.0, tokens) / max(1.0, pairs)


def chosen_targets(batch: Batch) -> Tensor:
    """(B, S): the next token wherever it is of the same document and that is a chosen one; -100 elsewhere."""
    assert batch.segments is not None
    following_BS = torch.full_like(batch.tokens, NO_TARGET)
    inside = batch.segments[:, 1:] == batch.segments[:, :-1]
    following_BS[:, :-1] = torch.where(inside, batch.tokens[:, 1:], NO_TARGET)
    following_BS = torch.where(batch.targets != NO_TARGET, batch.targets, following_BS)  # the last one's is no token
    is_chosen_BS = (batch.segments >= 0) & (batch.segments % 2 == 0)
    return torch.where(is_chosen_BS, following_BS, NO_TARGET)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) of x < 0, without cancellation on either side of log 1/2; finite at 0, to which an answer that
    the model is sure of is rounded."""
    far, near = x.clamp(max=LOG_HALF), x.clamp(min=LOG_HALF, max=-torch.finfo(x.dtype).tiny)
    return torch.where(x < LOG_HALF, torch.log1p(-far.exp()), torch.log(-torch.expm1(near)))
