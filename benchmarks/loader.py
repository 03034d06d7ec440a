"""What the loader costs: opening a corpus of 2 x 10^12 tokens, finding samples in it, reading batches of a real one,
and its share of a training step.

    python benchmarks/loader.py                     all, in a temporary folder
    python benchmarks/loader.py --share             the share of a step alone: CPU time, which busy cores hardly change
    python benchmarks/loader.py --folder DIR        where (30,000 small and sparse files)

The big corpus is 10,000 shards of 2 x 10^8 tokens. Its files are sparse but real: each has its true length and each
index its header, so that opening checks what it would check of a real corpus. Prints rows of Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clapas.loader.plan import DataPlan
from clapas.recipe.phases import Phases
from clapas_data.manifest import Manifest, ShardEntry, SourceRecord, TokenizerRecord, open_manifest
from clapas_data.shards import IndexHeader, ShardRecord, ShardWriter, shard_files

SOURCES = ("web", "books", "law", "science")
TOKENS_PER_DOCUMENT = 1_000
GPU_TOKENS_PER_SECOND = 50_000
"""What one H100 trains of a 1B model at 40 % of its peak: 4e14 / (6 * 1.1e9 + attention)."""


def sparse_corpus(folder: Path, shards: int, tokens: int) -> None:
    """Files of a corpus that was never tokenized: true lengths and headers, no content."""
    entries = []
    header = IndexHeader("uint16", tokens // TOKENS_PER_DOCUMENT, tokens // TOKENS_PER_DOCUMENT)
    (folder / "train").mkdir(parents=True)
    for number in range(shards):
        source = SOURCES[number * len(SOURCES) // shards]
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        record = ShardRecord(
            path=f"{source}-{number:05d}",
            documents=header.documents,
            sequences=header.sequences,
            tokens=tokens,
            bin_bytes=2 * tokens,
            idx_bytes=header.size,
            bin_sha256=digest,
            idx_sha256=digest,
            crc_sha256=digest,
        )
        entry = ShardEntry.of(record, folder="train", split="train", source=source, text_bytes=5 * tokens)
        entries.append(entry)
        sizes = (entry.bin_bytes, entry.idx_bytes, entry.crc_bytes)
        for path, size in zip(shard_files(folder, entry), sizes, strict=True):
            with path.open("wb") as file:
                if path.suffix == ".idx":
                    file.write(header.pack())
                file.truncate(size)
    manifest_of("sparse", entries).write(folder)


def manifest_of(name: str, entries: list[ShardEntry]) -> Manifest:
    """A manifest around shards."""
    tokenizer = TokenizerRecord(hash="0" * 64, vocab_size=65_536, eos=0)
    sources = {source: SourceRecord(licence="CC0-1.0") for source in SOURCES}
    return Manifest(name=name, tokenizer=tokenizer, dtype="uint16", sources=sources, shards=tuple(entries))


def peak_memory() -> int:
    """This process's largest resident size so far, in bytes (getrusage would tell its parent's)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measure_opening(folder: Path) -> dict[str, float]:
    """Seconds and megabytes (growth of the peak) to open a corpus and plan a run, then microseconds a sample."""
    step = random.Random(0).randrange(10**5, 4 * 10**5)
    before = peak_memory()
    begin = time.perf_counter()
    manifest = open_manifest(folder)
    opened = time.perf_counter()
    mixture = {"web": 0.55, "books": 0.2, "law": 0.05, "science": 0.2}
    plan = DataPlan(manifest, Phases.constant(1024, 4096, mixture), seed=1)
    assert len(plan.hash) == 64
    planned = time.perf_counter()
    first = plan.interval(step)
    plan.spans(first[0])
    jumped = time.perf_counter()
    for index in first:
        plan.spans(index)
    walked = time.perf_counter()
    memory = peak_memory() - before
    return {
        "tokens": float(manifest.tokens("train")),
        "open_s": opened - begin,
        "plan_s": planned - opened,
        "jump_us": (jumped - planned) * 1e6,
        "sample_us": (walked - jumped) / len(first) * 1e6,
        "memory_mb": memory / 2**20,
    }


def opening_rows(folder: Path) -> list[str]:
    """The big corpus, opened five times in processes of their own; the median by time to open."""
    sparse_corpus(folder, shards=10_000, tokens=200_000_000)
    runs = []
    for _ in range(5):
        command = [sys.executable, __file__, "--measure-opening", str(folder)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    run = sorted(runs, key=lambda run: run["open_s"])[len(runs) // 2]
    worst = max(run["open_s"] for run in runs)
    memory = max(run["memory_mb"] for run in runs)
    return [
        f"| open a manifest of 10,000 shards, {run['tokens']:.0e} tokens, all sizes and headers checked "
        f"| {run['open_s']:.2f} s (worst of 5: {worst:.2f}) | 0.5 s |",
        f"| memory it takes, with the data plan (growth of the peak) | {memory:.0f} MB | 50 MB |",
        f"| the data plan and its hash | {run['plan_s'] * 1e3:.0f} ms | |",
        f"| jump to any step: its first sample | {run['jump_us']:.0f} µs | |",
        f"| the spans of a sample | {run['sample_us']:.0f} µs | 50 µs |",
    ]


def write_real(folder: Path) -> None:
    """A corpus of 20 million random tokens in documents of 1,000."""
    generator = np.random.default_rng(0)
    with ShardWriter(folder / "train" / "web-00000", np.dtype("uint16")) as writer:
        lengths = np.full(20_000, TOKENS_PER_DOCUMENT)
        writer.add_many(generator.integers(0, 8_192, lengths.sum(), dtype=np.uint16), lengths)
    entry = ShardEntry.of(writer.close(), folder="train", split="train", source="web", text_bytes=1)
    manifest_of("real", [entry]).write(folder)


def reading_rows(folder: Path) -> list[str]:
    """Batches of a real corpus of 20 million tokens: the first epoch checks blocks, the second does not."""
    from clapas.loader.loader import Loader

    write_real(folder)
    rows = []
    for mask in (False, True):
        with Loader.of_folder(folder, sequence_length=4096, batch_size=16, seed=1, document_mask=mask) as loader:
            steps = loader.plan.stretches[0].samples[""] // 16
            batches = iter(loader)
            for epoch in ("first", "second"):
                begin = time.perf_counter()
                for _ in range(steps):
                    next(batches)
                rate = steps * 16 * 4096 / (time.perf_counter() - begin) / 1e6
                name = "with document masks" if mask else "plain"
                rows.append(f"| batches of 16 x 4,096, {name}, {epoch} epoch | {rate:.0f} M tokens/s | |")
    return rows


def loader_cpu(folder: Path, batch: int, length: int, mask: bool, steps: int) -> float:
    """CPU nanoseconds of this process for each token of batches, read in the loader's thread and thrown away."""
    from clapas.loader.loader import Loader

    with Loader.of_folder(folder, sequence_length=length, batch_size=batch, document_mask=mask) as loader:
        batches = iter(loader)
        for _ in range(steps):  # blocks are checked when they are first read
            next(batches)
        begin = time.process_time()
        for _ in range(steps):
            next(batches)
        return (time.process_time() - begin) / (steps * batch * length) * 1e9


def share_rows(folder: Path) -> list[str]:
    """The loader's CPU time beside that of the demo's forward and backward, and beside a GPU's time for a token."""
    import torch

    from clapas.model.build import build_model
    from clapas.model.cpu import prepare_cpu
    from clapas.recipe.recipe import read_recipe

    torch.set_num_threads(1)
    prepare_cpu()
    write_real(folder)
    recipe = read_recipe("demo")
    model = build_model(recipe.model)
    tokens = torch.randint(recipe.model.vocab_size, (8, 257))
    seconds = []
    for _ in range(6):
        begin = time.process_time()
        model(tokens[:, :-1].contiguous(), targets_BS=tokens[:, 1:].contiguous())[0].backward()
        seconds.append(time.process_time() - begin)
    model_ns = min(seconds) / tokens[:, 1:].numel() * 1e9
    rows = [f"| the demo's forward and backward, CPU time for a token | {model_ns:,.0f} ns | |"]
    for batch, length in ((8, 256), (16, 4096)):
        for mask in (False, True):
            cost = loader_cpu(folder, batch, length, mask, steps=200 if length == 256 else 20)
            name = f"batches of {batch} x {length:,}{', document masks' if mask else ''}"
            share = f"{cost / (cost + model_ns):.3%} of the demo's step" if length == 256 else "–"
            on_gpu = f"{cost * GPU_TOKENS_PER_SECOND / 1e9:.3%} of a core at {GPU_TOKENS_PER_SECOND:,} tokens/s"
            rows.append(f"| {name}: the loader's CPU time for a token | {cost:.0f} ns: {share}; {on_gpu} | 1 % |")
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--measure-opening", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_opening:
        print(json.dumps(measure_opening(options.measure_opening)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        rows = share_rows(Path(temporary) / "share")
        if not options.share:
            rows += opening_rows(Path(temporary) / "sparse") + reading_rows(Path(temporary) / "real")
    print(f"loader, {os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {np.__version__}\n")
    print("| what | measured | to reach |\n|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
