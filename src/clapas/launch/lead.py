"""How long before its time limit a job must be told, so that its last checkpoint is committed in time.

Measured where the run has saved before: the longest save, the longest step (the ranks stop after the one under way),
and what a validation takes that may have just begun.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from clapas.ledger.ledger import read_json_lines

UNKNOWN_SECONDS = 300
"""Where the run has not saved yet."""
LEAST_SECONDS = 60
SAFETY = 2.0
"""A shared file system has bad hours: a save may take twice as long as any before."""
STEPS = 2
"""Steps that may pass until the ranks have agreed to stop, and the last is done."""
NEWEST = 20
"""Saves that are looked at: what was slow on another machine or at another size is forgotten."""
ROWS = 1000
"""Rows of metrics that are looked at, as well."""


def lead_seconds(run: Path) -> int:
    """Seconds before the time limit at which a run wants to be told, from its own past."""
    past = past_of(run)
    if not past.saves:
        return UNKNOWN_SECONDS
    needed = SAFETY * max(past.saves) + STEPS * past.longest_step + past.longest_validation
    return max(LEAST_SECONDS, math.ceil(needed))


class Past(NamedTuple):
    """Seconds of a run's newest saves, of its longest step and of its longest validation, so far as it has logged."""

    saves: list[float]
    longest_step: float
    longest_validation: float


def past_of(run: Path) -> Past:
    """What a run's ledger and metrics tell; nothing where it has none."""
    ledger, metrics = run / "ledger.jsonl", run / "metrics.jsonl"
    events = read_json_lines(ledger) if ledger.is_file() else []
    rows = read_json_lines(metrics) if metrics.is_file() else []
    steps = [row for row in rows if "step_seconds" in row][-ROWS:]
    saves = [float(event["save_seconds"]) for event in events if event["event"] == "checkpoint"]
    validations = [  # logged as a mean over the steps since the row before
        float(row.get("time/evaluation") or 0.0) * (row["step"] - before["step"]) for before, row in pairwise(steps)
    ]
    longest_step = max((float(row["step_seconds"]) for row in steps), default=0.0)
    return Past(saves[-NEWEST:], longest_step, max(validations, default=0.0))
