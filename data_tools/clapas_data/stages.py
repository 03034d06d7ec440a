"""A build as a list of stages, each some tasks that know nothing of each other.

A task reads files of earlier stages and writes its own: whole or not at all, last of all the one that says it is done.
What it writes depends on the data alone. So a task may run in any process of any node, be killed, run again, or run
twice at once; nothing is locked, and whoever runs the stages (processes here: local.py; arrays of Slurm's) needs only
to know which tasks are not done yet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar


class Stage(ABC):
    """A stage; a frozen dataclass, so that it can be sent to other processes.

    name: as in logs and job names. unit: what a task works on, one and several.
    """

    name: ClassVar[str]
    unit: ClassVar[tuple[str, str]] = ("part", "parts")

    @abstractmethod
    def tasks(self) -> int:
        """How many tasks; asked only when all stages before are done."""

    @abstractmethod
    def done(self, task: int) -> bool:
        """Whether a task's files are there."""

    @abstractmethod
    def run(self, task: int) -> None:
        """Do a task. Raises UserError for wrong input."""

    def size(self, task: int) -> int:
        """About how long a task takes beside others, in any unit: large ones are begun first."""
        return 0

    def missing(self) -> list[int]:
        """The tasks that are not done, the largest first."""
        return sorted((task for task in range(self.tasks()) if not self.done(task)), key=lambda task: -self.size(task))

    def is_done(self) -> bool:
        """Whether all tasks are done; asked only when all stages before are."""
        return all(self.done(task) for task in range(self.tasks()))


class OneTask(Stage):
    """A stage of a single task, which looks at the files of all tasks before."""

    def tasks(self) -> int:
        """One."""
        return 1


def run_stride(stage: Stage, first: int, step: int) -> Sequence[int]:
    """Do the tasks `first`, `first + step` … that are not done. Returns those that it did."""
    mine = [task for task in range(first, stage.tasks(), step) if not stage.done(task)]
    for task in mine:
        stage.run(task)
    return mine
