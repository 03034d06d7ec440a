"""What is in a folder of token shards: sources, counts, licences, the steps that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clapas_data.manifest import open_manifest
from clapas_data.personal.seems import unsaid


def inspect(folder: Path) -> dict[str, Any]:
    """A folder's content as plain values. Raises UserError where it holds no corpus, or a file is cut short."""
    manifest = open_manifest(folder)
    rows = []
    for split in manifest.splits:
        for source in dict.fromkeys(shard.source for shard in manifest.shards if shard.split == split):
            places = [p for p, shard in enumerate(manifest.shards) if (shard.split, shard.source) == (split, source)]
            left = [manifest.left(place) for place in places]
            tokens = sum(counts.tokens for counts in left)
            known = all(manifest.shards[place].text_bytes is not None for place in places)
            size = sum(counts.bytes for counts in left) if known else None
            contains = (manifest.sources[source].model_extra or {}).get("contains", ())
            rows.append(
                {
                    "split": split,
                    "source": source,
                    "shards": len(places),
                    "documents": sum(counts.documents for counts in left),
                    "tokens": tokens,
                    "bytes": size,
                    "bytes_per_token": None if size is None else round(size / max(1, tokens), 3),
                    "licence": manifest.sources[source].licence,
                    "revision": manifest.sources[source].revision,
                    "domain": manifest.sources[source].domain,
                    "language": manifest.sources[source].language,
                    "contains": list(contains),
                    "seems_to_contain": list(unsaid(manifest.steps, source, contains)),
                }
            )
    return {
        "name": manifest.name,
        "hash": manifest.hash,
        "dtype": manifest.dtype,
        "tokenizer": None if manifest.tokenizer is None else manifest.tokenizer.model_dump(),
        "sources": rows,
        "steps": [step.model_dump() for step in manifest.steps],
        "removals": [] if manifest.removed is None else [r.model_dump() for r in manifest.removed.removals],
    }


def inspect_table(content: dict[str, Any]) -> str:
    """`inspect`'s values for a person to read. Bytes a token count EOS among the tokens."""
    tokenizer = content["tokenizer"]
    lines = [f"{content['name']}  hash {content['hash'][:16]}  {content['dtype']}"]
    if tokenizer is not None:
        lines[0] += f"  vocabulary {tokenizer['vocab_size']}, tokenizer {tokenizer['hash'][:16]}"
    keys = ("split", "source", "documents", "tokens", "bytes", "bytes_per_token", "licence")
    heads = ("split", "source", "documents", "tokens", "bytes", "bytes/token", "licence")
    lines += ["", *table(heads, [[_cell(row[key]) for key in keys] for row in content["sources"]])]
    lines += _of_persons(content["sources"])
    if content["steps"]:
        keys = ("name", "documents_in", "documents_out", "bytes_in", "bytes_out", "seconds")
        heads = ("step", "documents in", "out", "bytes in", "out", "seconds")
        lines += ["", *table(heads, [[_cell(row[key]) for key in keys] for row in content["steps"]])]
        reasons = [
            [step["name"], reason, _cell(count), f"{count / max(1, step['documents_in']):.2%}"]
            for step in content["steps"]
            for reason, count in sorted(step["reasons"].items(), key=lambda pair: -pair[1])
        ]
        if reasons:
            lines += ["", *table(("step", "reason", "dropped", "of those that came"), reasons)]
        counts = [
            [step["name"], what, _cell(count)] for step in content["steps"] for what, count in step["counts"].items()
        ]
        if counts:
            lines += ["", *table(("step", "counted", "number"), counts)]
    if content["removals"]:
        keys = heads = ("date", "documents", "tokens", "bytes", "reason")
        rows = [
            [_cell(row[key]) if key != "reason" else row[key] or "–" for key in keys] for row in content["removals"]
        ]
        lines += ["", "removed since, and not counted above:", *table(heads, rows)]
    return "\n".join(lines)


def _of_persons(sources: list[dict[str, Any]]) -> list[str]:
    """Which sources contain personal or health data, as their corpus file says, and which seem to."""
    lines = dict.fromkeys(f"{row['source']}: contains {' and '.join(row['contains'])} data" for row in sources
                          if row["contains"])  # fmt: skip
    lines |= dict.fromkeys(
        f"{row['source']}: seems to contain {' and '.join(row['seems_to_contain'])} data, which its corpus file does "
        "not say (docs/personal-data.md)"
        for row in sources
        if row["seems_to_contain"]
    )
    return ["", *lines] if lines else []


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(heads: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell; those of numbers to the right."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() for cell in column[1:]) for column in columns]
    return [
        "  ".join(cell.rjust(width) if to_right else cell.ljust(width)
                  for cell, width, to_right in zip(row, widths, right, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]  # fmt: skip
