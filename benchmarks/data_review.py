"""What a corpus kept and dropped, to be read by a person: a sample, then a page of verdicts.

    python benchmarks/data_review.py sample FOLDER --each 50 --out review.jsonl
    python benchmarks/data_review.py page review.jsonl --data FOLDER --out docs/data-review.md

`sample` writes of each source the kept documents with the lowest hashes, and as many dropped ones, of each reason in
turn. Whoever reads them adds to each line `verdict` (`right`, `wrong`, `doubtful`) and `remark`. The choice depends on
the data alone: a second sample of the same build is the same.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from clapas_data.manifest import Manifest, open_manifest
from clapas_data.trace import trace

EXCERPT = 1_500
QUOTED = 140
VERDICTS = ("right", "wrong", "doubtful")


def sample(folder: Path, each: int) -> list[dict[str, Any]]:
    """Kept and dropped documents of every source."""
    rows: list[dict[str, Any]] = []
    table = pq.read_table(folder / "documents.parquet", columns=["source", "shard", "document", "hash", "split"])
    kept = defaultdict(list)
    for row in table.to_pylist():
        if row["split"] == "train":
            kept[row["source"]].append((row["hash"], f"{row['shard']}#{row['document']}"))
    for source, documents in kept.items():
        traced = (trace(folder, name, full=True)[0] for _, name in sorted(documents))
        for found in islice((found for found in traced if found["removed"] is None), each):
            text = found["text"] or ""
            rows.append(_row(source, "kept", "", None, found["hash"], found["id"], text))
    for source, samples in _dropped(folder / "rejected.parquet").items():
        for item in samples[:each]:
            rule = f"{item['step']}.{item['reason']}"
            rows.append(_row(source, "dropped", rule, item["value"], item["hash"].hex(), item["id"], item["text"]))
    return rows


def _dropped(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Samples of each source, a reason after the other."""
    by_source: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in pq.read_table(path).sort_by("hash").to_pylist():
        by_source[row["source"]][f"{row['step']}.{row['reason']}"].append(row)
    return {
        source: [item for turn in zip_longest(*rules.values()) for item in turn if item]
        for source, rules in by_source.items()
    }


def _row(source: str, choice: str, rule: str, value: float | None, key: str, name: str, text: str) -> dict[str, Any]:
    facts = {"source": source, "choice": choice, "rule": rule, "value": value, "hash": key, "id": name}
    return {**facts, "characters": len(text), "text": text[:EXCERPT], "verdict": None, "remark": ""}


def dropped_of_all(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """(documents that the steps on one document dropped, documents that came in) of each source."""
    found: dict[str, tuple[int, int]] = {}
    for step in manifest.steps:
        for source, counts in step.sources.items():
            dropped, came = found.get(source, (0, counts.documents_in))
            found[source] = (dropped + counts.documents_in - counts.documents_out, came)
    return found


def page(rows: list[dict[str, Any]], manifest: Manifest) -> str:
    """The verdicts as a page: figures first, then every document with a quotation."""
    dropped = dropped_of_all(manifest)
    lines = [
        "# A corpus read by eye",
        "",
        f"Documents of `recipes/corpora/{manifest.name}.yaml` as its steps kept or dropped them, those with the lowest",
        "hashes (dropped ones: each rule in turn), read one by one by language models, a verdict each. *Right*: a kept",
        "document is French that a model may learn from, a dropped one is not worth keeping. Made by",
        "`benchmarks/data_review.py`. Each rule in turn is no random draw: rare rules weigh as much as common ones,",
        "and the share of wrong drops *of all documents* is at most what the last column says. Source names are the",
        "corpus's; near duplicates are trusted to the rule, which verifies each pair.",
        "",
        "| source | kept: right | doubtful | wrong | dropped: right | doubtful | wrong | dropped by rules, of all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    counts = Counter((row["source"], row["choice"], row["verdict"]) for row in rows)
    for source in dict.fromkeys(row["source"] for row in rows):
        cells = [
            str(counts[source, choice, v]) for choice in ("kept", "dropped") for v in ("right", "doubtful", "wrong")
        ]
        gone, came = dropped[source]
        lines.append(f"| {source} | {' | '.join(cells)} | {gone:,} of {came:,} ({gone / came:.2%}) |")
    rules = defaultdict(Counter)
    for row in rows:
        if row["choice"] == "dropped":
            rules[row["rule"]][row["verdict"]] += 1
    lines += ["", "| rule | right | doubtful | wrong |", "|---|---|---|---|"]
    lines += [f"| {rule} | {c['right']} | {c['doubtful']} | {c['wrong']} |" for rule, c in sorted(rules.items())]
    for source, choice in dict.fromkeys((row["source"], row["choice"]) for row in rows):
        lines += ["", f"## {source}, {choice}", "", "| hash | quotation | rule | verdict |", "|---|---|---|---|"]
        own = [row for row in rows if (row["source"], row["choice"]) == (source, choice)]
        lines += [f"| `{row['hash'][:12]}` | {_quoted(row['text'])} | {_rule(row)} | {_verdict(row)} |" for row in own]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    short = " ".join(text.split())
    short = short[:QUOTED] + "…" if len(short) > QUOTED else short
    return "« " + short.replace("|", "\\|").replace("<", "\\<").replace("`", "'") + " »"


def _rule(row: dict[str, Any]) -> str:
    return row["rule"] + ("" if row["value"] is None else f" {row['value']:.3g}")


def _verdict(row: dict[str, Any]) -> str:
    return row["verdict"] + (f": {row['remark']}".replace("|", "\\|") if row["remark"] else "")


def main() -> None:
    """Draw a sample, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, dest="verb")
    verb = verbs.add_parser("sample")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--each", type=int, default=50)
    verb.add_argument("--out", type=Path, required=True)
    verb = verbs.add_parser("page")
    verb.add_argument("rows", type=Path, nargs="+")
    verb.add_argument("--data", type=Path, required=True, help="the folder that was sampled")
    verb.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.verb == "sample":
        rows = sample(options.folder, options.each)
        options.out.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
        return
    rows = [orjson.loads(line) for path in options.rows for line in path.read_bytes().splitlines()]
    if unread := [row["hash"] for row in rows if row["verdict"] not in VERDICTS]:
        parser.error(f"{len(unread)} rows without a verdict, the first {unread[0]}")
    options.out.write_text(page(rows, open_manifest(options.data)))


if __name__ == "__main__":
    main()
