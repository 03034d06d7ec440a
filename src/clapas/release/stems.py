"""All runs that made a model: the released one, those it branched from, those that trained what it began with.

The law counts what all of them took, whatever each was called; and so do energy and FLOPs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from clapas.release.evidence.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Part:
    """What one run had taken when the next began, or at its end. None where it is not known.

    flops: as its ledger counts them. objective: the recipe's. has_adapters: whether its base was frozen.
    """

    name: str
    relation: Literal["this", "branch", "base"]
    flops: float | None
    tokens: int | None
    tokens_computed: int | None
    accelerator_seconds: float | None
    energy_joules: float | None
    energy_boundary: str | None
    objective: dict[str, Any]
    has_adapters: bool


def parts(evidence: Evidence) -> tuple[Part, ...]:
    """The released run first, then its stems. Models of others are not among them."""
    compute = evidence.compute
    this = Part(
        evidence.run,
        "this",
        compute.flops,
        evidence.tokens,
        evidence.tokens_computed,
        compute.accelerator_seconds,
        compute.energy_joules,
        compute.energy_boundary,
        evidence.recipe.get("objective") or {"name": evidence.objective},
        evidence.adapters is not None,
    )
    runs = [base.run for base in evidence.bases if base.run is not None]
    return this, *_stems(evidence.branch, runs)


def _stems(branch: dict[str, Any] | None, bases: list[dict[str, Any]]) -> Iterator[Part]:
    for relation, stem in [("branch", branch)] * (branch is not None) + [("base", run) for run in bases]:
        assert stem is not None
        yield _part(relation, stem)
        yield from _stems(stem.get("branch"), stem.get("bases") or [])


def _part(relation: Any, facts: dict[str, Any]) -> Part:
    known = {
        name: facts.get(name)
        for name in ("flops", "tokens", "tokens_computed", "accelerator_seconds", "energy_joules", "energy_boundary")
    }
    objective = facts.get("objective") or {}
    return Part(
        str(facts.get("run") or facts.get("name") or "?"),
        relation,
        **known,
        objective={"name": objective} if isinstance(objective, str) else objective,
        has_adapters=facts.get("adapters") is not None,
    )
