"""A small run that others are compared with: whatever befalls them, they must log the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_json_lines

STEPS = 60
SMALL = (
    f"train.steps={STEPS}",
    "train.threads=1",
    "schedule.warmup_steps=2",
    "checkpoint.every=1000",
    "evaluation.every=25",
    "evaluation.tokens=8192",
    "telemetry.log_every=1",
)
LEARNED = ("step", "split", "loss", "bits_per_byte", "grad_norm", "learning_rate", "tokens")
"""What does not depend on the clock, on the machine, or on how often the run was interrupted."""


def logged(run: Path) -> list[dict[str, Any]]:
    """What a run logged, steps and validations."""
    rows = read_json_lines(run / "metrics.jsonl")
    return [{key: row[key] for key in LEARNED if key in row} for row in rows]


def steps_done(run: Path) -> int:
    """The newest step in a run's metrics."""
    path = run / "metrics.jsonl"
    return max((row["step"] for row in read_json_lines(path)), default=0) if path.is_file() else 0
