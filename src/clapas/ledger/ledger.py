"""The evidence of a run: `ledger.jsonl`, append-only, one line a segment's event.

Everything that a card or a summary says of a run is computed from these lines. A segment is one start of the training
command. While it goes on, its lines carry its running totals, so that a killed segment loses at most what it did since
its last checkpoint. What was not measured says "not measured".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas.recipe.line_log import LineLog

NOT_MEASURED = "not measured"


class Ledger:
    """Appends events to a run's ledger. Only rank 0 writes."""

    def __init__(self, run: Path) -> None:
        self.path = run / "ledger.jsonl"
        self._lines = LineLog(self.path, durable=True)

    def append(self, event: str, **facts: Any) -> None:
        """Write one line, forced to the disk: {"event", "time" (UTC seconds), ...facts}."""
        entry = {"event": event, "time": round(time.time(), 3), **facts}
        self._lines.append(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))


def read_ledger(run: Path) -> list[dict[str, Any]]:
    """A run's events in order; lines cut short by a crash are left out. Raises UserError where there is no ledger."""
    path = run / "ledger.jsonl"
    if not path.is_file():
        raise UserError("not a run: it has no ledger.jsonl", where=run, wanted="a folder that `clapas train` wrote")
    return read_json_lines(path)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that a crash cut short is left out."""
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return rows


@dataclass(frozen=True, slots=True)
class Totals:
    """A run's sums over all of its segments.

    steps, tokens: of the run as it stands (repeated work is not counted twice).
    tokens_computed, flops, seconds: all work done, repeated work included. flops are the model's (6N + attention).
    accelerator_seconds: wall seconds times ranks.
    restarts: starts of the command after the first. rollbacks, skipped_updates: spikes that were acted upon.
    branch: where the run began after another's checkpoint, the event that says so (`run`, `step`, `identity`); what was
    done until then is in that run's ledger.
    energy_joules: a number, or "not measured". energy_boundary: what was measured; None where nothing was.
    """

    steps: int
    tokens: int
    tokens_computed: int
    flops: float
    seconds: float
    accelerator_seconds: float
    segments: int
    restarts: int
    rollbacks: int
    skipped_updates: int
    checkpoints: int
    branch: dict[str, Any] | None
    energy_joules: float | str
    energy_boundary: str | None
    evaluations: list[dict[str, Any]]

    @property
    def measured_joules(self) -> float | None:
        """The energy where it was measured."""
        return float(self.energy_joules) if isinstance(self.energy_joules, int | float) else None


def sum_ledger(events: list[dict[str, Any]]) -> Totals:
    """Sum a ledger's events. Each segment counts by its last line that carries totals."""
    last: dict[int, dict[str, Any]] = {}
    for event in events:
        if "totals" in event:
            last[event["segment"]] = event["totals"]
    starts = [event for event in events if event["event"] == "segment_start"]
    actions = [event["action"] for event in events if event["event"] == "spike"]
    rollbacks = actions.count("rollback")
    energies = [totals["energy_joules"] for totals in last.values()]
    measured = bool(energies) and all(isinstance(energy, (int, float)) for energy in energies)
    boundaries = dict.fromkeys(totals.get("energy_boundary") for totals in last.values()) if measured else {}
    newest = max(last) if last else None
    return Totals(
        steps=last[newest]["step"] if newest is not None else 0,
        tokens=last[newest]["run_tokens"] if newest is not None else 0,
        tokens_computed=sum(totals["tokens"] for totals in last.values()),
        flops=sum(totals["flops"] for totals in last.values()),
        seconds=sum(totals["seconds"] for totals in last.values()),
        accelerator_seconds=sum(totals["seconds"] * totals["ranks"] for totals in last.values()),
        segments=len(starts),
        restarts=max(0, len(starts) - 1 - rollbacks),
        rollbacks=rollbacks,
        skipped_updates=actions.count("skip"),
        checkpoints=sum(event["event"] == "checkpoint" for event in events),
        branch=next((event for event in events if event["event"] == "branch"), None),
        energy_joules=sum(energies) if measured else NOT_MEASURED,
        energy_boundary="; ".join(filter(None, boundaries)) or None,
        evaluations=[event for event in events if event["event"] == "evaluation"],
    )
