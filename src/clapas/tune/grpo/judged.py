"""Completions with what their rewards say, and what a step's say together."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clapas.engine.ranks import Ranks
from clapas.tune.grpo.advantages import standard_deviation
from clapas.tune.grpo.prompts import Prompt
from clapas.tune.grpo.rollouts import Completion

ALIKE = 1e-8
"""A group's standard deviation below which its rewards are all equal, and teach nothing."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A prompt with its completions. texts: of them, special tokens too. rewards: by name. totals: their weighted sums.

    truncated: which were cut before they ended.
    """

    prompt: Prompt
    completions: list[Completion]
    texts: list[str]
    rewards: dict[str, list[float]]
    totals: list[float]
    truncated: list[bool]

    @property
    def tokens(self) -> int:
        """Of all completions."""
        return sum(len(completion.tokens) for completion in self.completions)


@dataclass(frozen=True, slots=True)
class StepMeasures:
    """Of all ranks' completions in a step. columns: what metrics.jsonl tells. deviation: the rewards' standard one."""

    completions: float
    tokens: float
    deviation: float
    columns: dict[str, float]


def measure(ranks: Ranks, judged: Sequence[Judged], names: Collection[str]) -> StepMeasures:
    """Measure a step. judged: this rank's. names: of the rewards. Collective."""
    totals = [total for each in judged for total in each.totals]
    count, tokens, cut, alike, reward, *by_name = ranks.sum_all(
        [
            float(len(totals)),
            float(sum(each.tokens for each in judged)),
            float(sum(sum(each.truncated) for each in judged)),
            float(sum(len(each.totals) for each in judged if standard_deviation(each.totals) < ALIKE)),
            math.fsum(totals),
            *(math.fsum(value for each in judged for value in each.rewards[name]) for name in names),
        ]
    )
    some = max(1.0, count)  # all prompts of a step may have been removed
    squares = ranks.sum(math.fsum((total - reward / some) ** 2 for total in totals))
    deviation = math.sqrt(squares / max(1.0, count - 1))
    columns = {
        "reward": reward / some,
        "reward_std": deviation,
        "reward_all_equal": alike / some,
        **{f"rewards/{name}": value / some for name, value in zip(names, by_name, strict=True)},
        "completion_length": tokens / some,
        "truncated": cut / some,
    }
    return StepMeasures(count, tokens, deviation, columns)
