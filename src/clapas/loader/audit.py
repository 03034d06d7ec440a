"""What a step read: the documents behind any step of any run, asked afterwards.

Nothing was logged for this while training: the order is a function, so the step's samples are computed again, and
`documents.parquet` says where their documents came from. A corpus that is not the one of the run is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_ledger
from clapas.loader.drawn import Window
from clapas.loader.plan import DataPlan
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas_data.documents import DOCUMENTS, find_documents
from clapas_data.shards import TokenShard

HASH_COMMENT = "# identity: "
"""How a run's recipe.yaml says which run it is."""


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
    plan = DataPlan.of_recipe(recipe)
    recorded = _recorded_identity(path)
    if recorded is not None and recorded != recipe.identity_hash(plan.hash):
        raise UserError(
            "this corpus is not the one that the run read",
            where=recipe.data.path,
            wanted=f"the data of run {run} ({path}, identity {recorded[:16]}…)",
            way_out="bring back the data folder as it was when the run trained",
        )
    return documents_of_step(plan.leaving_out(_left_out(run)), step)


def _left_out(run: Path) -> list[Window]:
    """What the run has left out, as its last segment began."""
    events = read_ledger(run) if (run / "ledger.jsonl").is_file() else []
    starts = [event for event in events if event["event"] == "segment_start"]
    return [(first, last) for first, last in starts[-1].get("left_out", [])] if starts else []


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


def _recorded_identity(recipe: Path) -> str | None:
    """The identity hash in the header of a run's recipe, or None where it has none."""
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if line.startswith(HASH_COMMENT):
            return line.removeprefix(HASH_COMMENT).strip()
    return None
