"""What was measured of a model, as flat lists: the last validation of each split, and what was recorded.

The card's tables, both of its machine-readable forms and the check that compares them read these lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clapas.release.evidence.evidence import Evidence, HeldOut, Measured

STDERR = "_stderr"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task's figures. metrics: name -> (value, standard error or None), the task's own first.

    items, of: how many were asked, out of how many. chat: through the chat template. day: when, in ISO 8601.
    """

    name: str
    version: str
    metrics: dict[str, tuple[float, float | None]]
    items: int
    of: int
    num_fewshot: int
    seed: int
    chat: bool
    harness: str
    day: str
    file: str


def last_held_out(evidence: Evidence) -> list[HeldOut]:
    """The last validation of each split, in the order of their first."""
    return list({row.split: row for row in evidence.held_out}.values())


def task_results(evidence: Evidence) -> list[TaskResult]:
    """Each task as it was measured last, for each number of examples shown and each way of asking."""
    found: dict[tuple[str, int, bool], TaskResult] = {}
    for measured in evidence.measured:
        if measured.kind == "tasks":
            for result in _tasks(measured):
                found[result.name, result.num_fewshot, result.chat] = result
    return list(found.values())


def probes(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Probe -> its figures, as it was measured last; with the name of its file under `file`."""
    return {
        name: {**probe["figures"], "file": measured.file}
        for measured in evidence.measured
        if measured.kind == "probes"
        for name, probe in measured.content["probes"].items()
    }


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of a task's items stand in a corpus that the model read: of those that were long enough to look for."""

    task: str
    corpus: str
    items: int
    looked_for: int
    overlapping: int
    words: int
    fewest_words: int
    file: str


def overlaps(evidence: Evidence) -> list[Overlap]:
    """Of each corpus of the lineage, each task as it was looked for last."""
    found: dict[tuple[str, str], Overlap] = {}
    for data in evidence.data:
        for measured in evidence.measured:
            content = measured.content
            if measured.kind != "contamination" or data.manifest_hash not in content.get("manifests", ()):
                continue
            words = content["method"]["words"], content["method"]["fewest_words"]
            for task, own in content["tasks"].items():
                counts = own["items"], own["looked_for"], own["overlapping"]
                found[data.manifest_hash, task] = Overlap(task, data.name, *counts, *words, measured.file)
    return list(found.values())


def _tasks(measured: Measured) -> Iterator[TaskResult]:
    content = measured.content
    harness = ", ".join(f"{package} {version}" for package, version in content["harness"].items())
    day = datetime.fromtimestamp(content["time"], UTC).date().isoformat()
    for name, task in content["tasks"].items():
        metrics = task["metrics"]
        yield TaskResult(
            name=name,
            version=str(task["version"]),
            metrics={
                metric: (value, metrics.get(_error_of(metric)))
                for metric, value in metrics.items()
                if STDERR not in metric and value is not None
            },
            items=task["items"],
            of=task["of"],
            num_fewshot=task["num_fewshot"],
            seed=content["seeds"]["fewshot"],
            chat=content["chat"],
            harness=harness,
            day=day,
            file=measured.file,
        )


def _error_of(metric: str) -> str:
    name, at, filtered = metric.partition("@")
    return f"{name}{STDERR}{at}{filtered}"
