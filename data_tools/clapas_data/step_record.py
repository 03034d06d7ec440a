"""What a step of a build took in and gave out, as the manifest keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from clapas.recipe.typed import Section
from clapas_data.pipeline import StepCounts


class StepTotals(Section):
    """What a step took in and gave out. bytes: UTF-8 text.

    changed: documents that it edited. reasons: documents that it dropped. counts: what else it counted.
    """

    documents_in: int
    documents_out: int
    bytes_in: int
    bytes_out: int
    changed: int = 0
    reasons: dict[str, int] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)


class StepRecord(StepTotals):
    """One step of the build with its counts. seconds: the only part that varies from one build to the next.

    options: as the corpus file gives them. changed_options: of the sources that change some, all as they are there.
    sources: the counts of each source that went through it.
    """

    name: str
    seconds: float
    options: dict[str, Any] = Field(default_factory=dict)
    changed_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: dict[str, StepTotals] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        options: dict[str, Any],
        by_source: Mapping[str, StepCounts],
        changed_options: Mapping[str, dict[str, Any]] | None = None,
    ) -> StepRecord:
        """The record of a step, from each source's counts."""
        total = StepCounts()
        for counts in by_source.values():
            total.add(counts)
        sources = {source: StepTotals(**_totals(counts)) for source, counts in by_source.items()}
        said = {"options": options, "changed_options": dict(changed_options or {})}
        return cls(name=name, seconds=round(total.seconds, 3), sources=sources, **said, **_totals(total))


def _totals(counts: StepCounts) -> dict[str, Any]:
    return {name: value for name, value in counts.values().items() if name != "seconds"}
