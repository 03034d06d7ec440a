"""The questions that a model was asked, which stand in `evaluations/` of its release: whose they are.

Those that ship with Clapas are ours; of all others people say the licence and the authors (`evaluation_sets`), by a
task's name or by what the names of several begin with: `global_mmlu_fr` is `global_mmlu_fr_business` and its like.
"""

from __future__ import annotations

from collections.abc import Iterable

from clapas.evaluate.harness.local_tasks import SHIPPED
from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence

LICENCE = "CC0-1.0"
"""Of the questions that ship with Clapas, its tasks' and its probes'."""


def tasks_asked(evidence: Evidence) -> dict[str, str]:
    """Task -> the version that says what its questions were, as it was recorded last; by name."""
    found: dict[str, str] = {}
    for measured in evidence.measured:
        if measured.kind == "tasks":
            found |= {name: str(task.get("version")) for name, task in measured.content.get("tasks", {}).items()}
    return dict(sorted(found.items()))


def probes_asked(evidence: Evidence) -> list[str]:
    """The probes that were recorded, by name; memorisation is asked of the training texts, and not of a set."""
    asked = (one.content.get("probes", {}) for one in evidence.measured if one.kind == "probes")
    return sorted({name for probes in asked for name in probes} - {"memorisation"})


def is_ours(task: str) -> bool:
    """Whether a task ships with Clapas."""
    return (SHIPPED / f"{task}.yaml").is_file()


def set_of(task: str, sets: Iterable[str]) -> str | None:
    """The one of these keys that names a task, the longest first; None where none does."""
    named = [key for key in sets if task == key or task.startswith(f"{key}_")]
    return max(named, key=len, default=None)


def sets_of_others(evidence: Evidence, answers: Answers) -> dict[str | None, list[str]]:
    """Key in `evaluation_sets` -> its tasks that were asked; None: tasks of which nobody said anything."""
    found: dict[str | None, list[str]] = {}
    for task in tasks_asked(evidence):
        if not is_ours(task):
            found.setdefault(set_of(task, answers.evaluation_sets), []).append(task)
    return found
