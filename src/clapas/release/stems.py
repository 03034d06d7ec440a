"""All runs that made a model: the released one, those it branched from, those that trained what it began with.

The law counts what all of them took, whatever each was called; and so do energy and FLOPs here. A run that made a
teacher did not make this model: what the teacher said of this model's data is counted where it was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clapas.release.evidence.evidence import Evidence, RunFacts


@dataclass(frozen=True, slots=True)
class Part:
    """What one run had taken when the next began, or at its end. flops: as its ledger counts them.

    objective: the recipe's. has_adapters: whether its base was frozen.
    """

    name: str
    relation: Literal["this", "branch", "base"]
    flops: float
    tokens_computed: int
    seconds: float
    accelerator_seconds: float
    energy_joules: float | None
    energy_boundary: str | None
    objective: dict[str, Any]
    has_adapters: bool


def parts(evidence: Evidence) -> tuple[Part, ...]:
    """The released run first, then its stems, each once. Models of others are not among them."""
    compute = evidence.compute
    this = Part(
        evidence.run,
        "this",
        compute.flops,
        evidence.tokens_computed,
        compute.seconds,
        compute.accelerator_seconds,
        compute.energy_joules,
        compute.energy_boundary,
        evidence.recipe["objective"],
        evidence.adapters is not None,
    )
    bases = [base.run for base in evidence.bases if base.run is not None and base.role != "teacher"]
    found = {(run.identity, run.step): _part(run, "base") for run in bases}
    found |= {(run.identity, run.step): _part(run, "branch") for run in evidence.stems}
    return this, *found.values()


def _part(run: RunFacts, relation: Literal["branch", "base"]) -> Part:
    return Part(
        run.name,
        relation,
        run.flops,
        run.tokens_computed,
        run.seconds,
        run.accelerator_seconds,
        run.energy_joules,
        run.energy_boundary,
        run.objective,
        run.has_adapters,
    )
