"""The gate: all checks of a draft, in order. A check that fails, or that must run and did not, keeps the draft in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from clapas.recipe.errors import ClapasError
from clapas.release.gate.check import Check, Draft, Result, Verdict


class RefusedError(ClapasError):
    """A draft that the gate keeps in; exit 1. results: of all checks."""

    def __init__(self, results: tuple[Result, ...], folder: object) -> None:
        self.results = results
        blocking = [result for result in results if result.blocks]
        lines = "".join(f"\n    {result.number:>2} {result.name}: {_why(result)}" for result in blocking)
        super().__init__(
            f"the gate keeps this release in: {len(blocking)} of {len(results)} checks block it",
            where=str(folder),
            found=lines,
            way_out="mend what is named and release again; nothing was written (docs/release.md tells of each check)",
        )


def run_checks(draft: Draft, checks: Iterable[Check]) -> tuple[Result, ...]:
    """Each check's result, in the order of their numbers; none stops another."""
    return tuple(_result(check, draft) for check in sorted(checks, key=lambda check: check.number))


def _result(check: Check, draft: Draft) -> Result:
    mandatory = check.mandatory(draft)
    try:
        verdict = check.function(draft)
    except Exception as error:
        if draft.live is not None:
            raise  # a defect of ours; what a stranger's folder holds may be anything
        verdict = Verdict("fail", (f"what is there cannot be checked: {type(error).__name__}: {error}",))
    return Result(check.number, check.name, check.what, mandatory, verdict.status, verdict.said)


def _why(result: Result) -> str:
    what = "did not run: " if result.status == "not-run" else ""
    return what + "; ".join(result.said)


def results_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    """The results as release.json keeps them."""
    return [asdict(result) for result in results]


def results_table(results: Iterable[Result]) -> str:
    """A line a check."""
    marks = {"pass": "pass   ", "fail": "FAIL   ", "not-run": "not run"}
    return "\n".join(f"{r.number:>2} {marks[r.status]} {r.name:<18} {'; '.join(r.said)}" for r in results)
