"""A recipe's `objective.rewards` as functions, and what they say of a group, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clapas.recipe.errors import ClapasError, UserError
from clapas.tune.grpo.config import (
    FormatReward,
    FrenchReward,
    FunctionReward,
    Grpo,
    LengthReward,
    MathReward,
    RewardConfig,
    reward_name,
)
from clapas.tune.grpo.rewards.final_answer import is_right
from clapas.tune.grpo.rewards.french import french_rewards
from clapas.tune.grpo.rewards.function import own_function
from clapas.tune.grpo.rewards.length import length_reward
from clapas.tune.grpo.rewards.reward import Group, Reward


@dataclass(frozen=True, slots=True)
class Rewards:
    """All rewards of a run. weights: by name, in the recipe's order. answers: columns that each prompt must fill."""

    functions: dict[str, Reward]
    weights: dict[str, float]
    answers: tuple[str, ...] = ()

    @classmethod
    def of(cls, objective: Grpo, where: str) -> Rewards:
        """Those of a recipe. where: `objective.rewards`, for messages. Raises UserError for a function that is not."""
        return cls(
            {reward_name(config): _reward(config, objective, where) for config in objective.rewards},
            {reward_name(config): config.weight for config in objective.rewards},
            tuple(dict.fromkeys(config.column for config in objective.rewards if isinstance(config, MathReward))),
        )

    def __call__(self, group: Group) -> dict[str, list[float]]:
        """By name, a number for each completion. Raises UserError, which names prompt and reward, where one fails."""
        return {name: _checked(name, function, group) for name, function in self.functions.items()}

    def total(self, values: dict[str, list[float]]) -> list[float]:
        """The weighted sum, a number a completion."""
        columns = [[self.weights[name] * value for value in own] for name, own in values.items()]
        return [math.fsum(row) for row in zip(*columns, strict=True)]


def _reward(config: RewardConfig, objective: Grpo, where: str) -> Reward:
    match config:
        case MathReward(column=column):
            return lambda group: [float(is_right(text, _answer(group, column))) for text in group.completions]
        case FormatReward(pattern=pattern):
            compiled = re.compile(pattern, re.DOTALL)
            return lambda group: [float(bool(compiled.fullmatch(text.strip()))) for text in group.completions]
        case FrenchReward():
            return lambda group: french_rewards(group.completions)
        case LengthReward():
            most = config.most or objective.max_new_tokens
            margin = config.margin or max(1, most // 5)
            return lambda group: [length_reward(tokens, most, margin) for tokens in group.tokens]
        case FunctionReward(function=function):
            return own_function(function, where)


def _answer(group: Group, column: str) -> Any:
    """The right answer of a prompt. Raises UserError where the data have none."""
    if not has_answer(group.columns, column):
        raise unanswered(group.name, column, group.columns)
    return group.columns[column]


def has_answer(columns: Mapping[str, Any], column: str) -> bool:
    """Whether a prompt's columns say what is right."""
    return columns.get(column) not in (None, "")


def unanswered(name: str, column: str, columns: Collection[str], others: int = 0) -> UserError:
    """The error of a prompt, by its name, without a value of a column. others: prompts besides of which it is true."""
    too = f", nor have {others:,} other prompts that the run will read" if others else ""
    return UserError(
        "a prompt has no answer to be compared with",
        where=name,
        found=f"no value of the column {column}{too}; the columns: {', '.join(sorted(columns)) or 'none'}",
        wanted="a value in documents.parquet, from the prompt's line of the data",
        way_out="mend the line, or leave it out, and make the folder anew with `clapas data chat`",
    )


def _checked(name: str, function: Reward, group: Group) -> list[float]:
    where = f"reward {name}, prompt {group.name}"
    try:
        values = function(group)
    except ClapasError:
        raise
    except Exception as error:  # whatever a function of the user's raises
        raise UserError(
            f"the reward raised {type(error).__name__}: {error}",
            where=where,
            found=f"the prompt {group.prompt[-200:]!r}",
            way_out="mend the function; the run goes on after its last checkpoint",
        ) from error
    if not isinstance(values, Sequence) or len(values) != len(group.completions):
        found = f"{len(values)} numbers" if isinstance(values, Sequence) else type(values).__name__
        raise UserError(
            "the reward did not give a number for each completion",
            where=where,
            found=found,
            wanted=f"a list of {len(group.completions)} numbers",
        )
    numbers = [float(value) if isinstance(value, (int, float)) else math.nan for value in values]
    if bad := [value for value, number in zip(values, numbers, strict=True) if not math.isfinite(number)]:
        raise UserError("the reward gave what is no number", where=where, found=repr(bad[0]), wanted="a finite number")
    return numbers
