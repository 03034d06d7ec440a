"""Looking at checkpoints: what a run has, whether it is sound, and in what two of them differ."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from clapas.checkpoint.committed import COMMITTED, committed_checkpoints, step_of
from clapas.checkpoint.format import MANIFEST
from clapas.checkpoint.reader import CheckpointReader, DamagedCheckpointError, no_checkpoint, open_checkpoint
from clapas.recipe.errors import ClapasError


def list_checkpoints(run: Path) -> list[dict[str, Any]]:
    """A run's committed checkpoints, oldest first. Sizes are compared, hashes are not: see `verify_checkpoints`.

    Each: step, path, saved (UTC), ranks (files), bytes, problem (None: nothing seen). Raises UserError where there are
    none.
    """
    return [_row(path, verify=False) for path in _found(run)]


def verify_checkpoints(run_or_checkpoint: Path) -> list[dict[str, Any]]:
    """Read every byte of a checkpoint, or of all those of a run, against the hashes. Rows as `list_checkpoints`."""
    return [_row(path, verify=True) for path in _found(run_or_checkpoint)]


def raise_for_damage(rows: list[dict[str, Any]]) -> None:
    """Raise ClapasError where one of the checkpoints is damaged."""
    damaged = [row for row in rows if row["problem"]]
    if damaged:
        raise ClapasError(
            f"{len(damaged)} of {len(rows)} checkpoints damaged",
            where=damaged[-1]["path"],
            found=damaged[-1]["problem"],
            way_out="a resume passes over them; delete them, or copy sound ones back",
        )


def _found(run_or_checkpoint: Path) -> list[Path]:
    if (run_or_checkpoint / MANIFEST).is_file():
        return [run_or_checkpoint]
    found = committed_checkpoints(run_or_checkpoint / "checkpoints")
    if not found:
        raise no_checkpoint(run_or_checkpoint)
    return found


def _row(path: Path, verify: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step_of(path) if path.name.startswith("step-") else None, "path": str(path)}
    row |= {"saved": None, "ranks": None, "bytes": None, "problem": None}
    try:
        reader = CheckpointReader(path, verify=False)
        row["ranks"] = len(reader.manifest.files)
        row["bytes"] = sum(file.bytes for file in reader.manifest.files)
        row["saved"] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime((path / COMMITTED).stat().st_mtime))
        if verify:
            reader.check_hashes()
    except DamagedCheckpointError as problem:
        row["problem"] = " ".join(str(problem).split())
    return row


def checkpoints_table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    lines = [("step", "saved (UTC)", "ranks", "bytes", "state")]
    for row in rows:
        step, size = ("?" if row[key] is None else f"{row[key]:,}" for key in ("step", "bytes"))
        lines.append((step, row["saved"] or "?", str(row["ranks"] or "?"), size, row["problem"] or "sound"))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join("  ".join([*map(str.rjust, line[:4], widths), line[4]]) for line in lines)


def diff_checkpoints(first: Path, second: Path) -> dict[str, Any]:
    """In what two checkpoints (or the newest of two runs) differ: facts, recipe keys, and each state of each parameter.

    facts, recipe: key -> the two values. only_first, only_second: parameters. states: of what is in both, for each
    state the parameters that are equal bit for bit, those that differ, and the largest difference. Memory holds a
    parameter at a time.
    """
    readers = open_checkpoint(first), open_checkpoint(second)
    one, two = (reader.manifest for reader in readers)
    facts = {key: _two(getattr(one, key), getattr(two, key)) for key in ("step", "identity", "execution", "versions")}
    recipes = [_flat(manifest.recipe) for manifest in (one, two)]
    recipe = {key: _two(*(r.get(key) for r in recipes)) for key in sorted(recipes[0].keys() | recipes[1].keys())}
    return {
        "facts": {key: values for key, values in facts.items() if values},
        "recipe": {key: values for key, values in recipe.items() if values},
        "only_first": sorted(one.parameters.keys() - two.parameters.keys()),
        "only_second": sorted(two.parameters.keys() - one.parameters.keys()),
        "states": _states(*readers),
    }


def _two(first: Any, second: Any) -> list[Any] | None:
    return None if first == second else [first, second]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _states(first: CheckpointReader, second: CheckpointReader) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in first.names():
        if name not in second.manifest.parameters:
            continue
        kept = (reader.manifest.parameters[name].states for reader in (first, second))
        for state in sorted(set.intersection(*map(set, kept))):
            entry = found.setdefault(state, {"equal": 0, "different": 0, "largest_difference": 0.0, "where": None})
            one, two = first.tensor(name, state), second.tensor(name, state)
            if one.shape == two.shape and one.dtype == two.dtype and one.equal(two):
                entry["equal"] += 1
                continue
            entry["different"] += 1
            largest = (one.double() - two.double()).abs().max().item() if one.shape == two.shape else float("inf")
            if largest >= entry["largest_difference"]:
                entry |= {"largest_difference": largest, "where": name}
    return found


def diff_text(result: dict[str, Any]) -> str:
    """The result in lines."""
    lines = [f"{key}: {one}  ->  {two}" for part in ("facts", "recipe") for key, (one, two) in result[part].items()]
    lines += [f"only in the {which}: {name}" for which in ("first", "second") for name in result[f"only_{which}"]]
    for state, entry in result["states"].items():
        line = f"{state}: {entry['equal']:,} parameters equal bit for bit"
        if entry["different"]:
            line += f", {entry['different']:,} not; most {entry['largest_difference']:.3g}, in {entry['where']}"
        lines.append(line)
    return "\n".join(lines)
