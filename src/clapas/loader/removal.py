"""`clapas data remove`: documents leave a corpus, and it is told which steps of which runs read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clapas.loader.readers import find_runs, readings
from clapas.recipe.errors import UserError
from clapas_data.remove import read_names, remove

SHOWN = 12
"""Steps, and documents, that the text lists; --json lists all."""


def remove_documents(
    folder: Path,
    names: Path,
    *,
    reason: str | None = None,
    runs: Sequence[Path] | None = None,
    ignore_missing: bool = False,
) -> dict[str, Any]:
    """Mask the documents that a file names, and find what read them. Values for a table or for JSON.

    runs: runs or folders of runs; by default those in `runs`. `revision` and `hash` are the manifest's, `was` its hash
    before; `removed` the documents that left, `removed_before` those that had left already; `runs` as in `readings`, of
    all of these documents; `other_runs` those that read other data, or none that is known;
    `unreadable` a run -> why nobody can tell what it read.
    Raises UserError, before anything is written, where a name is of no document or a folder holds no run.
    """
    found = find_runs(runs)
    outcome = remove(folder, read_names(names), where=names, reason=reason, ignore_missing=ignore_missing)
    rows = [*outcome.removed, *outcome.before]
    told: dict[Path, dict[str, Any] | None] = {}
    unreadable: dict[str, str] = {}
    for run in found:
        try:
            told[run] = readings(run, outcome.manifest, rows)
        except UserError as error:  # what was removed is removed: the others are told
            unreadable[str(run)] = str(error)
    return {
        "folder": str(folder),
        "revision": outcome.manifest.revision,
        "hash": outcome.manifest.hash,
        "was": outcome.was,
        "reason": reason,
        "removed": [_named(row) for row in outcome.removed],
        "removed_before": [_named(row) for row in outcome.before],
        "unknown": outcome.unknown,
        "runs": [reading for reading in told.values() if reading is not None],
        "other_runs": [str(run) for run, reading in told.items() if reading is None],
        "unreadable": unreadable,
    }


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("source", "id", "split", "shard", "document", "tokens", "bytes")}


def removal_table(told: dict[str, Any]) -> str:
    """The same for a person to read."""
    removed, before = told["removed"], told["removed_before"]
    tokens = sum(row["tokens"] for row in removed)
    lines = [f"{told['folder']}: {len(removed):,} documents removed, {tokens:,} tokens"]
    if before:
        lines.append(f"{len(before):,} of those named had been removed before")
    if told["unknown"]:
        lines.append(f"{len(told['unknown']):,} names are of no document here: {_some(told['unknown'])}")
    lines.append(f"manifest revision {told['revision']}, hash {told['hash'][:16]} (was {told['was'][:16]})")
    lines += ["", *(line for run in told["runs"] for line in _run_lines(run))]
    if not told["runs"]:
        lines.append("no run of those looked at read these data")
    if told["other_runs"]:
        lines.append(f"read other data: {', '.join(told['other_runs'])}")
    for run, why in told["unreadable"].items():
        lines += [f"{run}: cannot be read, so that nobody can tell whether it read them:", f"  {why}"]
    return "\n".join(lines)


def _run_lines(run: dict[str, Any]) -> list[str]:
    first, last = run["steps"]
    head = f"{run['run']} (steps {first:,} to {last:,} done, data revision {run['revision']})"
    if run["branch"]:
        head += f", a branch of {run['branch']['run']} at step {run['branch']['step']:,}"
    if not run["stages"] and not run["rolled_back"]:
        return [f"{head}: read none of them"]
    lines = [f"{head}: read {len(run['documents']):,} of them"]
    lines += [f"  stage {stage['stage']}: steps {_some(stage['steps'])}" for stage in run["stages"]]
    if run["rolled_back"]:
        lines.append(f"  in work that was thrown away: steps {_some(run['rolled_back'])}")
    return lines


def _some(items: list[Any]) -> str:
    more = f" and {len(items) - SHOWN:,} more (--json lists all)" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more
