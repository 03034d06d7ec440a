"""How long a corpus of 10 TB takes on 100 nodes, reckoned from measured rates: what each stage is bound by.

    python benchmarks/data_simulation.py [--rates benchmarks/data_rates.yaml] [--nodes 100] [--terabytes 10]

A stage of many tasks takes the longest of: its CPU seconds over all cores; its bytes over what the file system gives
this project, or over all nodes' links. A stage of one task has one core and one process's bandwidth. Nothing overlaps:
a stage begins when the one before is done. No failures, no waiting in the queue beyond what stands in the file.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PART_BYTES = 16 * 2**20
PARTS_OF_A_FILE = 64
GROUP_BYTES = 64 * 2**20
SHARD_BYTES = 2**30
BUCKET_DOCUMENTS = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """A stage. bound: what takes longest. files: that it leaves."""

    name: str
    seconds: float
    bound: str
    read: float
    written: float
    files: int
    cores: int


def simulate(facts: dict[str, Any]) -> list[Row]:
    """A row for each stage."""
    return [_stage(stage, facts) for stage in facts["stages"]]


def _stage(stage: dict[str, Any], facts: dict[str, Any]) -> Row:
    cluster, size = facts["cluster"], facts["text_tb"] * 1e12
    read, written = stage["read"] * size, stage["write"] * size
    if stage.get("one"):
        cores = 1
        work = size / facts["document_bytes"] / stage["documents_per_second"]
        flow = cluster["one_gb"] * 1e9
        times = {"one core": work, "one process's I/O": (read + written) / flow}
    else:
        cores = cluster["nodes"] * cluster["cores"]
        links = cluster["nodes"] * cluster["node_gb"] * 1e9
        ours = cluster["share"] * 1e9
        disk = read / (ours * cluster["read_gb"]) + written / (ours * cluster["write_gb"])
        times = {
            "CPU": size / (stage["cpu"] * 1e6) / cores,
            "file system": disk,
            "nodes' links": (read + written) / links,
        }
    bound = max(times, key=lambda name: times[name])
    return Row(stage["name"], times[bound], bound, read, written, _files(stage["files"], facts), cores)


def _files(rule: str, facts: dict[str, Any]) -> int:
    """How many files a stage leaves: of each part, group, bucket or shard so many."""
    size = facts["text_tb"] * 1e12
    file = facts["file_gb"] * 1e9
    part = max(PART_BYTES, file / PARTS_OF_A_FILE)
    counts = {
        "one": 2,
        "parts": size / part,
        "groups": size / max(GROUP_BYTES, part),
        "buckets": size / facts["document_bytes"] / BUCKET_DOCUMENTS,
        "shards": size / SHARD_BYTES,
    }
    of, _, each = rule.partition(" ")
    return round(counts[of] * int(each or 1))


def table(rows: list[Row], facts: dict[str, Any]) -> str:
    """In Markdown."""
    cluster = facts["cluster"]
    lines = ["| stage | hours | bound by | read TB | written TB | files |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.seconds / 3600:.2f} | {row.bound} | {row.read / 1e12:.1f} | {row.written / 1e12:.1f} "
        f"| {row.files:,} |"
        for row in rows
    ]
    waits = len(rows) * facts["slurm_seconds"]
    hours = (sum(row.seconds for row in rows) + waits) / 3600
    busy = sum(row.seconds for row in rows if row.cores > 1) / 3600
    files = sum(row.files for row in rows)
    lines += [
        "",
        f"{facts['text_tb']:g} TB of text on {cluster['nodes']} nodes of {cluster['cores']} cores: {hours:.1f} hours, "
        f"of which {waits / 3600:.1f} between arrays; {busy * cluster['nodes']:,.0f} node-hours; "
        f"{files:,} files at the most (a project's quota: {cluster['inodes']:,}).",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, default=Path(__file__).with_name("data_rates.yaml"))
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--terabytes", type=float)
    options = parser.parse_args()
    facts = yaml.safe_load(options.rates.read_text())
    if options.nodes:
        facts["cluster"]["nodes"] = options.nodes
    if options.terabytes:
        facts["text_tb"] = options.terabytes
    print(table(simulate(facts), facts))


if __name__ == "__main__":
    main()
