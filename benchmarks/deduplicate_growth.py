"""How deduplication grows: its stages after the keys, on up to 18 million documents that do not exist.

    python benchmarks/deduplicate_growth.py [--millions 1 3 9 18] [--folder /tmp/growth]

Band keys are made up, and a document in ten is a near copy of the one before: its n-grams are so too, where the stages
ask for them. Each size runs in a process of its own, on one core: CPU seconds, its peak memory, the disk that it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from clapas_data.deduplicate.arrays import key_shelf, write_arrays
from clapas_data.deduplicate.exact import ExactJoin, ExactMatch
from clapas_data.deduplicate.finish import steps
from clapas_data.deduplicate.join import NearJoin
from clapas_data.deduplicate.near import NearMatch, gather_pieces
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.verify import NearVerify
from clapas_data.stages import Stage
from clapas_data.steps.deduplicate import Near
from clapas_data.text.spans import mixed

GROUP = 45_000
"""Documents of a group: 64 MB of text of 1.4 kB each, as the agreements have."""
SET = 40
CHANGED = 4
"""Of a copy's SET n-grams: a similarity of 36 / 44."""
COPIES = 10
"""One document in so many is a near copy of the one before."""
SHARED = 0.3
"""The share of the bands in which a copy agrees with its original: about 0.818^6."""


def main() -> None:
    """Print what each size took, and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 9, 18])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "clapas-growth")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(_grown(round(asked.one * 1e6), asked.folder)), flush=True)
        return
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, NumPy {np.__version__}, ", end=""
    )
    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    rows = []
    for count in asked.millions:
        command = [sys.executable, __file__, "--one", str(count), "--folder", str(asked.folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    sizes = np.log([row["documents"] for row in rows])
    for name in ("match", "verify", "all") if len(rows) > 1 else ():
        slope = np.polyfit(sizes, np.log([row[name] for row in rows]), 1)[0]
        print(f"{name}: CPU seconds grow as n^{slope:.2f}")


def _grown(count: int, folder: Path) -> dict[str, float]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    firsts = range(0, count, GROUP)
    places = tuple(Place(Path("none"), "made", first, min(GROUP, count - first), 64 * 2**20 + 1) for first in firsts)
    plan = Plan("growth", folder, places, near=Near())
    plan.write()
    start = time.monotonic()
    try:
        began = time.process_time()
        for group, first in enumerate(firsts):
            _synthetic_keys(plan, group, np.arange(first, first + plan.groups[group][0].documents, dtype=np.uint64))
        made = time.process_time() - began
        stages = run([ExactMatch(folder), ExactJoin(folder), NearMatch(folder)])
        began = time.process_time()
        for group in range(len(plan.groups)):
            _synthetic_sets(plan, group)
        made += time.process_time() - began
        stages |= run([NearVerify(folder), NearJoin(folder)])
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        near = steps(plan, {})[1]
        return {
            "documents": count,
            "match": round(stages["deduplicate.exact.match"] + stages["deduplicate.near.match"], 1),
            "verify": round(stages["deduplicate.near.verify"], 1),
            "all": round(sum(stages.values()), 1),
            "making keys": round(made, 1),
            "wall": round(time.monotonic() - start, 1),
            "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "disk GB": round(disk / 1e9, 2),
            "candidates": near.counts["candidates"],
            "went": near.documents_in - near.documents_out,
        }
    finally:
        shutil.rmtree(folder)


def run(stages: Iterable[Stage]) -> dict[str, float]:
    """CPU seconds of each stage, here: others may share the machine."""
    seconds = {}
    for stage in stages:
        began = time.process_time()
        for task in stage.missing():
            stage.run(task)
        seconds[stage.name] = time.process_time() - began
    return seconds


def _copies(documents: np.ndarray) -> np.ndarray:
    """Which documents are near copies of the one before."""
    return documents % np.uint64(COPIES) == COPIES - 1


def _synthetic_keys(plan: Plan, group: int, documents: np.ndarray) -> None:
    """What the key stages write, of documents that do not exist."""
    near = plan.near
    assert near is not None
    count = len(documents)
    hashes = mixed(documents + np.uint64(1))
    local = np.arange(count, dtype=np.uint32)
    exact = key_shelf("exact", hashes, low=mixed(hashes), document=local, held=np.zeros(count, bool))
    ranks = (mixed(hashes + np.uint64(7)) >> np.uint64(50)).astype(np.uint32)
    sizes = np.full(count, 1400, np.int64)
    none = np.zeros(0, np.int64)
    write_arrays(plan.path("exact-keys", group), {"bytes": sizes, "rank": ranks, "matched": none, **exact})
    bands = np.arange(near.bands, dtype=np.uint64)
    own = mixed(documents[:, None] * np.uint64(64) + bands)
    before = mixed((documents[:, None] - np.uint64(1)) * np.uint64(64) + bands)
    agrees = (own >> np.uint64(40)).astype(np.float64) / 2**24 < SHARED
    agrees[:, 0] = True  # each copy is found
    keys = np.where(_copies(documents)[:, None] & agrees, before, own)
    document = np.repeat(local, near.bands)
    write_arrays(plan.path("near-keys", group), key_shelf("near", keys.reshape(-1), document=document))


def _synthetic_sets(plan: Plan, group: int) -> None:
    """The sets of n-grams of a group's candidates."""
    documents = np.unique(gather_pieces(plan, "documents", group, "document")[0]).astype(np.uint64)
    family = documents - _copies(documents)
    sets = family[:, None] * np.uint64(SET) + np.arange(SET, dtype=np.uint64)
    copies = np.flatnonzero(_copies(documents))
    sets[copies, :CHANGED] = documents[copies, None] * np.uint64(SET) + np.arange(CHANGED, dtype=np.uint64)
    sets = np.sort(mixed(sets), axis=1)
    offsets = np.arange(len(documents) + 1) * SET
    write_arrays(
        plan.path("near-shingles", group),
        {"document": documents.astype(np.int64), "offset": offsets, "hash": sets.reshape(-1)},
    )


if __name__ == "__main__":
    main()
