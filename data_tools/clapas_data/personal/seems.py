"""What a source seems to contain, by what the step `personal` found in it, where nobody has said.

A hint, and no finding: numbers of patients and of their stays stand in nothing but health data, so one document in a
thousand is enough; three kinds of what tells who is treated, and by whom, in one document of a hundred as well. Names
with titles, births and bank accounts stand in many texts: guides to public services, whose examples are invented, have
them in 0.9 documents of a hundred (docs/personal-data.md), so personal data are hinted at from two on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clapas_data.step_record import StepRecord, StepTotals

STEP = "personal"
PATIENT = ("ipp", "ins")
TREATED = ("ipp", "ins", "nir", "rpps", "birth_date")
PRIVATE = ("person", "birth_date", "nir", "ins", "iban", "card")
FEWEST = 3
"""Findings below which nothing is said: a detector's mistakes."""


def seems_to_contain(counts: Mapping[str, int], documents: int) -> tuple[str, ...]:
    """`personal`, `health` or both. counts: of the step `personal`, by `personal.KIND`, in so many documents."""

    def found(kinds: Iterable[str]) -> int:
        return sum(counts.get(f"personal.{kind}", 0) for kind in kinds)

    def frequent(kinds: Iterable[str], share: float) -> bool:
        return found(kinds) >= max(FEWEST, share * documents)

    kinds = sum(counts.get(f"personal.{kind}", 0) > 0 for kind in TREATED)
    hints = {
        "personal": frequent(PRIVATE, 0.02),
        "health": frequent(PATIENT, 0.001) or (kinds >= 3 and frequent(TREATED, 0.01)),
    }
    return tuple(name for name, is_hinted in hints.items() if is_hinted)


def found_in(steps: Iterable[StepRecord], source: str) -> StepTotals | None:
    """The counts of the step `personal` over a source's documents; None where it did not go through it."""
    return next((step.sources.get(source) for step in steps if step.name == STEP), None)


def unsaid(steps: Iterable[StepRecord], source: str, contains: Iterable[str]) -> tuple[str, ...]:
    """What a source seems to contain and is not said to."""
    found = found_in(steps, source)
    said = set(contains)
    return () if found is None else tuple(
        hint for hint in seems_to_contain(found.counts, found.documents_in) if hint not in said
    )  # fmt: skip
