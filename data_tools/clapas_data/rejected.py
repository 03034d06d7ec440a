"""`rejected.parquet`: documents to look at, of each reason for which a step dropped any.

It holds the beginnings of those with the lowest hashes of each source, step and reason, beside the shards; how many
were dropped in all is in the manifest's steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clapas.recipe.errors import UserError
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.step_record import StepRecord, StepTotals

REJECTED = "rejected.parquet"
SHOWN = 10
"""Samples of each source and reason that the text shows; all are in JSON."""
EXCERPT = 400
"""Characters of each."""


def rejected(folder: Path, wanted: str = "", source: str | None = None) -> list[dict[str, Any]]:
    """What the steps dropped: a row for each step, reason and source, with `documents`, `share` (of those that the
    source brought to the step) and `samples` (id, value, hash, text).

    Of a step that compares documents with each other, the sources' shares are not recorded: one row, whose source is
    None, with the samples of all. wanted: a step, or a step's reason as in `gopher.repetition.lines`; all where it is
    empty. Raises UserError where there is no such step or source.
    """
    manifest = open_manifest(folder)
    if source is not None and source not in manifest.sources:
        raise UserError("no such source", where=folder, found=source, wanted=", ".join(manifest.sources))
    rows = [row for row in _counts(manifest) if _is_wanted(row, wanted) and _is_of(row, source)]
    if (
        wanted
        and not rows
        and not any(step.name == wanted and step.documents_in == step.documents_out for step in manifest.steps)
    ):
        known = sorted({f"{row['step']}.{row['reason']}" for row in _counts(manifest)})
        raise UserError("no reason of that name is recorded", where=folder, found=wanted, wanted=", ".join(known))
    samples = _samples(folder)
    for row in rows:
        of = [row["source"]] if row["source"] else [source] if source else list(manifest.sources)
        row["samples"] = [sample for name in of for sample in samples.get((name, row["step"], row["reason"]), [])]
    return rows


def _counts(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for step in manifest.steps:
        for name, reason, documents, came_in in _of_step(step):
            if not documents:
                continue
            share = round(documents / max(1, came_in), 6)
            yield {"step": step.name, "reason": reason, "source": name, "documents": documents, "share": share}


def _of_step(step: StepRecord) -> Iterator[tuple[str | None, str, int, int]]:
    by_source: dict[str | None, StepTotals] = {**step.sources} if step.sources else {None: step}
    for source, totals in by_source.items():
        for reason, documents in sorted(totals.reasons.items(), key=lambda pair: -pair[1]):
            yield source, reason, documents, totals.documents_in


def _is_wanted(row: dict[str, Any], wanted: str) -> bool:
    return wanted in ("", row["step"], f"{row['step']}.{row['reason']}")


def _is_of(row: dict[str, Any], source: str | None) -> bool:
    return source is None or row["source"] in (None, source)


def _samples(folder: Path) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    if (folder / REJECTED).exists():
        for row in pq.read_table(folder / REJECTED).to_pylist():
            facts = {"id": row["id"], "value": row["value"], "hash": row["hash"].hex(), "text": row["text"]}
            found.setdefault((row["source"], row["step"], row["reason"]), []).append(facts)
    return found


def rejected_table(rows: list[dict[str, Any]]) -> str:
    """The same for a person to read."""
    lines: list[str] = [] if rows else ["no step dropped any document"]
    for row in rows:
        of = f"{row['documents']:,} documents of {row['source'] or 'all sources'} ({row['share']:.2%})"
        lines.append(f"{row['step']}.{row['reason']}: {of}")
        lines += [f"  {_sample(sample)}" for sample in row["samples"][:SHOWN]]
    return "\n".join(lines)


def _sample(sample: dict[str, Any]) -> str:
    value = "" if sample["value"] is None else f"{sample['value']:.4g}  "
    text = " ".join(sample["text"][:EXCERPT].split())
    return f"{value}{sample['id']}  « {text}{' …' if len(sample['text']) > EXCERPT else ''} »"
