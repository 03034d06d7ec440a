"""What is known of persons in the texts: what sources contain, what the step `personal` took out, what is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence, SourceFacts, StepTotals
from clapas_data.personal.finding import KINDS
from clapas_data.personal.seems import STEP, seems_to_contain


@dataclass(frozen=True, slots=True)
class Persons:
    """A source as its builder and the step `personal` see it. corpus: the name of its data, manifest: their hash.

    contains: as its corpus file says. seems: what it seems to contain beside that. step: its counts; None where it did
    not go through the step. no_health: why people hold that it has no health data although it seems to.
    """

    corpus: str
    manifest: str
    name: str
    contains: tuple[str, ...]
    seems: tuple[str, ...]
    step: StepTotals | None
    no_health: bool

    @property
    def is_health(self) -> bool:
        """Whether it has health data: it says so, or seems so and nobody says that it has none."""
        return "health" in self.contains or ("health" in self.seems and not self.no_health)

    @property
    def left(self) -> tuple[str, ...]:
        """Kinds of personal data that the step was told to leave; all where it did not go through it."""
        return KINDS if self.step is None else tuple(self.step.options.get("leave", ()))

    def removed(self, kind: str) -> int:
        """Findings of a kind that were replaced."""
        return 0 if self.step is None else self.step.counts.get(f"{STEP}.{kind}", 0)

    @property
    def documents_changed(self) -> int:
        """Documents in which anything was replaced."""
        return 0 if self.step is None else self.step.counts.get(f"{STEP}.documents", 0)


def persons(evidence: Evidence, answers: Answers) -> Iterator[Persons]:
    """Every source of every corpus of the lineage."""
    for data in evidence.data:
        for source in data.sources:
            step = next((step for step in source.steps if step.name == STEP), None)
            answer = answers.training_content.sources.get(source.name)
            yield Persons(
                corpus=data.name,
                manifest=data.manifest_hash,
                name=source.name,
                contains=source.contains,
                seems=_seems(source, step),
                step=step,
                no_health=answer is not None and answer.no_health_data is not None,
            )


def _seems(source: SourceFacts, step: StepTotals | None) -> tuple[str, ...]:
    if step is None:
        return ()
    return tuple(hint for hint in seems_to_contain(step.counts, step.documents_in) if hint not in source.contains)


def memorisation_of(evidence: Evidence) -> list[dict[str, Any]]:
    """The probe of memorisation of each corpus that it was recorded of, as it was measured last: with the hash of the
    data that it asked of (`manifest`), its `figures`, and how the excerpts were `drawn`."""
    probes = (one.content.get("probes", {}) for one in evidence.measured if one.kind == "probes")
    return list({own["manifest"]: own for probe in probes if (own := probe.get("memorisation"))}.values())
