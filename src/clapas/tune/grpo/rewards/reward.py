"""What a reward is: a number for each completion of a prompt, by what can be verified of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and what the model made of it.

    name: of the prompt, for messages: its source's own id. completions: texts, without special tokens. tokens: of each,
    the end included. columns: what else the documents table knows of the prompt.
    """

    name: str
    prompt: str
    completions: Sequence[str]
    tokens: Sequence[Sequence[int]]
    columns: Mapping[str, Any] = field(default_factory=dict)


Reward = Callable[[Group], list[float]]
"""A group -> a number for each of its completions. Raises UserError where it cannot say."""
