"""How long a run takes: as the user says, as its own steps were measured, or as `clapas plan` foretells."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from clapas.launch.doctor.finding import Case
from clapas.ledger.ledger import read_json_lines
from clapas.recipe.errors import UserError

HOURS_A_DAY = 24
LAST = 100
"""Logged steps that count: the newest, since a run may have changed its site or its ranks."""


@dataclass(frozen=True, slots=True)
class Duration:
    """hours: what is still to run. source: who says so."""

    hours: float
    source: str

    def __str__(self) -> str:
        told = f"{self.hours / 24:.1f} days" if self.hours >= 48 else f"{self.hours:.1f} hours"
        return f"{told} ({self.source})"


def duration_of(case: Case) -> Duration | None:
    """What is still to run; None where nobody can say."""
    if case.hours is not None:
        return Duration(case.hours, "--hours")
    return _measured(case) or _foretold(case)


def _measured(case: Case) -> Duration | None:
    if case.recipe is None:
        return None
    path = case.run_folder / "metrics.jsonl"
    rows = [row for row in read_json_lines(path) if "step_seconds" in row] if path.is_file() else []
    if not rows:
        return None
    left = max(0, case.recipe.total_steps - rows[-1]["step"])
    seconds = left * statistics.median(row["step_seconds"] for row in rows[-LAST:])
    return Duration(seconds / 3600, f"{left:,} steps as measured so far")


def _foretold(case: Case) -> Duration | None:
    """Of the recipe as written, on the site's nodes; None where it does not run there: another check tells why."""
    if case.recipe is None or case.site is None or case.site_name is None:
        return None
    from clapas.plan.plan import plan

    try:
        written = plan(case.recipe, case.site_name, case.nodes, partition=case.partition_name)["as_written"]
    except UserError:
        return None
    if written.get("problem") or "days" not in written:
        return None
    return Duration(written["days"] * HOURS_A_DAY, "as `clapas plan` foretells")
