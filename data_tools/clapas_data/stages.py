"""A build as a list of stages, each some tasks that know nothing of each other.

A task reads files of earlier stages and writes its own: whole or not at all, last of all the one that says it is done.
What it writes depends on the data alone. So a task may run in any process of any node, be killed, run again, or run
twice at once; nothing is locked, and whoever runs the stages (processes here: local.py; arrays of Slurm's) needs only
to know which tasks are not done yet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
        """Bytes that a task reads, about: large ones are begun first. 0: not known."""
        return 0

    def missing(self) -> list[int]:
        """The tasks that are not done, the largest first."""
        return sorted((task for task in range(self.tasks()) if not self.done(task)), key=lambda task: -self.size(task))

    def share(self, element: int, elements: int) -> list[int]:
        """Those tasks not done that are one element's of so many: every so-many-th."""
        return [task for task in range(element, self.tasks(), elements) if not self.done(task)]


class OneTask(Stage):
    """A stage of a single task, which looks at the files of all tasks before."""

    def tasks(self) -> int:
        """One."""
        return 1
