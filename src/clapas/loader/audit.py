"""What a step read: the documents behind any step of any run, asked afterwards.

Nothing was logged for this while training: the order is a function, so the step's samples are computed again, and
`documents.parquet` says where their documents came from. Where documents were removed since, the run's own revision of
the corpus answers; a corpus that is not the one of the run is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clapas.loader.plan import DataPlan
from clapas.loader.readers import left_out, plan_that_ran, recorded_identity
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas_data.documents import DOCUMENTS, find_documents
from clapas_data.manifest import open_manifest
from clapas_data.shards import TokenShard


def audit(run: Path, step: int) -> list[dict[str, Any]]:
    """The documents that a step of a run read, in the order of its samples: rows for a table or for JSON.

    Each row is a part of a document in a sample: sample (index in the run), source, id (the source's own; None for bare
    shards), shard, document (from 0 within its shard), first and last (tokens of the document, from 0, last included).
    The token after a sample's last, which is predicted only, counts as read. A step that came again after a rollback
    read what it read the last time.
    Raises UserError where there is no such run or step, or its corpus changed.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise UserError("not a run: it has no recipe.yaml", where=run, wanted="a folder that `clapas train` wrote")
    recipe = read_recipe(path)
    if not 1 <= step <= recipe.total_steps:
        raise UserError("no such step", where=run, found=step, wanted=f"from 1 to {recipe.total_steps}")
    recorded = recorded_identity(path)
    plan = plan_that_ran(recipe, recorded, open_manifest(recipe.data.path))
    if plan is None:
        raise UserError(
            "this corpus is not the one that the run read",
            where=recipe.data.path,
            wanted=f"the data of run {run} ({path}, identity {str(recorded)[:16]}…)",
            way_out="bring back the data folder as it was when the run trained",
        )
    return documents_of_step(plan.leaving_out(left_out(run)), step)


def documents_of_step(plan: DataPlan, step: int) -> list[dict[str, Any]]:
    """The same rows, of a plan."""
    pool = ShardPool(plan.manifest)
    rows: list[dict[str, Any]] = []
    starts: dict[str, set[int]] = {}
    for index in plan.interval(step):
        for span in plan.spans(index):
            entry = plan.manifest.shards[span.shard]
            for document, start, end in _documents_in(pool[span.shard], span):
                starts.setdefault(entry.path, set()).add(start)
                part = {"first": max(span.start, start) - start, "last": min(span.stop, end) - start - 1}
                rows.append(
                    {
                        "sample": index,
                        "source": entry.source,
                        "id": None,
                        "shard": entry.path,
                        "document": document,
                        **part,
                        "start": start,
                    }
                )
    table = plan.manifest.folder / DOCUMENTS
    known = find_documents(table, starts) if table.is_file() else {}
    for row in rows:
        row["id"] = known.get((row["shard"], row.pop("start")), {}).get("id")
    return rows


def _documents_in(shard: TokenShard, span: Span) -> Iterator[tuple[int, int, int]]:
    """(document, its first token, the token after its last) of each document that a span holds any token of."""
    document = shard.document_at(span.start)
    start = shard.document_start(document)
    while start < span.stop:
        end = shard.document_start(document + 1)
        if end > start:
            yield document, start, end
        document, start = document + 1, end


def audit_table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    header = ("sample", "source", "document", "tokens")
    lines = [header] + [
        (
            str(row["sample"]),
            row["source"],
            row["id"] or f"{row['shard']}#{row['document']}",
            f"{row['first']:,}-{row['last']:,}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
