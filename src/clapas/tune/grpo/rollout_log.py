"""`RUN/rollouts.jsonl`: every completion that was learned from, one a line, in the order of steps, prompts, members.

A line begins with its step, so that a resume finds by bytes where the steps after its checkpoint begin, and cuts there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from clapas.recipe.line_log import LineLog

ROLLOUTS = "rollouts.jsonl"
_STEP = re.compile(rb'\{"step":(\d+),')


@dataclass(frozen=True, slots=True)
class RolloutLine:
    """A completion, as logged.

    document: its prompt's number among all of the manifest's. id: its source's own. member: which of its group.
    completion: its text, special tokens too. rewards: by name, before weights. tokens: its length, the end included.
    truncated: whether it was cut at `max_new_tokens`.
    """

    step: int
    document: int
    id: str
    member: int
    completion: str
    rewards: dict[str, float]
    reward: float
    advantage: float
    tokens: int
    truncated: bool

    def to_json(self) -> bytes:
        """One line."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)


class RolloutLog:
    """The file of a run, open after a step. Rank 0 alone holds one."""

    def __init__(self, run: Path, after_step: int) -> None:
        path = run / ROLLOUTS
        if path.exists():
            os.truncate(path, end_of_step(path, after_step))
        self._lines = LineLog(path, durable=False)

    def append(self, lines: Sequence[str]) -> None:
        """Write a step's lines."""
        if text := "".join(lines):
            self._lines.append(text.encode())


def end_of_step(path: Path, step: int) -> int:
    """Where the lines of the steps up to `step` end, in bytes; a line that a crash cut short is not one of them."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            found = _STEP.match(line)
            if found is None or int(found[1]) > step or not line.endswith(b"\n"):
                break
            end += len(line)
    return end
