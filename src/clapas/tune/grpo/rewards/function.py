"""A reward of the user's own, called as TRL calls its."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clapas.recipe.errors import UserError
from clapas.tune.grpo.rewards.reward import Group, Reward


def own_function(name: str, where: str) -> Reward:
    """The reward that `module:function` is. where: the recipe's key, for messages. Raises UserError without it."""
    module_name, _, function_name = name.partition(":")
    function = _import(module_name, function_name, where)

    def reward(group: Group) -> list[float]:
        count = len(group.completions)
        columns = {column: [value] * count for column, value in group.columns.items()}
        return function(
            prompts=[group.prompt] * count,
            completions=list(group.completions),
            completion_ids=[list(tokens) for tokens in group.tokens],
            **columns,
        )

    return reward


def _import(module_name: str, function_name: str, where: str) -> Callable[..., Any]:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` would
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a module of the user's does when it is imported
        raise UserError(
            f"the module of a reward cannot be imported: {type(error).__name__}: {error}",
            where=where,
            found=module_name,
            wanted="a module of the working directory or of an installed package",
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        names = ", ".join(sorted(key for key, value in vars(module).items() if callable(value))[:8])
        raise UserError(
            "no such function", where=where, found=f"{module_name}:{function_name}", wanted=f"one of {names or 'none'}"
        )
    return function
