"""How fast is text turned into shards, end to end: a JSONL file in, shards on disk out, on this machine.

    python benchmarks/tokenization.py [--corpus bench] [--vocab-size 32768] [--rounds 5] [--workers 2]

Each round runs every contender once, one after another, each in a process of its own with nothing cached, start-up
included. The JSONL file is read once beforehand, so that all find it in memory. What each of them does:

- clapas: `clapas data build`: parse, clean, NFC, exact deduplication, encode, write `.bin/.idx`, checksums, tables.
- tokenizers: parse, NFC, `encode_batch_fast` on all cores, write the tokens. No cleaning, no deduplication.
- datatrove, where installed: `JsonlReader` and `DocumentTokenizer` on the same number of local tasks.

(Not `tokenize.py`: beside other scripts that name would hide the standard library's module from them.)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import orjson

from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.tokenizer.train import train
from clapas_data.workers import Workers

PEER = """
import sys, unicodedata
import numpy as np, orjson
from tokenizers import Tokenizer
source, folder, out = sys.argv[1:4]
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
eos = tokenizer.token_to_id("<|end_of_text|>")
def write(texts, file):
    for encoded in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        file.write(np.array([*encoded.ids, eos], np.uint16).tobytes())
with open(source, "rb") as lines, open(out + "/tokens.bin", "wb") as file:
    texts = []
    for line in lines:
        texts.append(unicodedata.normalize("NFC", orjson.loads(line)["text"]))
        if len(texts) == 1000:
            write(texts, file)
            texts = []
    write(texts, file)
"""

DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
source, folder, out, tasks = sys.argv[1:5]
if __name__ == "__main__":
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, glob_pattern="*.jsonl"),
            DocumentTokenizer(out + "/tokens", tokenizer_name_or_path=folder + "/tokenizer.json",
                              eos_token="<|end_of_text|>", shuffle_documents=False),
        ],
        tasks=int(tasks), workers=int(tasks), logging_dir=out + "/logs",
    ).run()
"""


def main() -> None:
    """Run the rounds and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="bench")
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as name:
        base = Path(name)
        size = _write_jsonl(options.corpus, base, options.workers)
        train(options.corpus, options.vocab_size, base / "tokenizer")
        contenders = _contenders(base, options.workers)
        seconds: dict[str, list[tuple[float, float]]] = {contender: [] for contender in contenders}
        for number in range(options.rounds):
            for contender, run in contenders.items():
                seconds[contender].append(_timed(run, base / "out"))
                wall, processor = seconds[contender][-1]
                print(f"round {number + 1}: {contender} {wall:.2f} s, CPU {processor:.2f} s", file=sys.stderr)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{size / 1e6:.1f} MB of text, {options.workers} workers, load average {load} ({platform.machine()})\n")
    print("| JSONL to shards | MB/s, median | slowest–fastest | CPU seconds, median |\n|---|---|---|---|")
    for contender, times in seconds.items():
        rates = sorted(size / 1e6 / wall for wall, _ in times)
        spent = statistics.median(processor for _, processor in times)
        print(f"| {contender} | {statistics.median(rates):.1f} | {rates[0]:.1f}–{rates[-1]:.1f} | {spent:.1f} |")


def _write_jsonl(corpus: str, base: Path, workers: int) -> int:
    """The corpus's training text as JSONL, cut into a file a worker (datatrove shares out files). Returns its bytes."""
    with Workers(workers) as pool:
        prepared = prepare(read_corpus(corpus), pool)
    texts = list(prepared.texts("train"))
    source = base / "source"
    source.mkdir()
    for worker in range(workers):
        with (source / f"{worker}.jsonl").open("wb") as file:
            file.writelines(orjson.dumps({"text": text}) + b"\n" for text in texts[worker::workers])
    (base / "all.jsonl").write_bytes(b"".join(path.read_bytes() for path in sorted(source.iterdir())))
    facts = {"name": "jsonl", "sources": {"all": {"files": "all.jsonl", "licence": "as its sources"}}}
    (base / "corpus.yaml").write_text(json.dumps(facts))  # JSON is YAML
    return sum(len(text.encode()) for text in texts)


def _contenders(base: Path, workers: int) -> dict[str, Callable[[Path], list[str]]]:
    """The command of each, given the folder to write."""
    folder = str(base / "tokenizer")
    cli = [sys.executable, "-m", "clapas", "data", "build", str(base / "corpus.yaml")]
    found: dict[str, Callable[[Path], list[str]]] = {
        "clapas data build": lambda out: [
            *cli, "--out", str(out / "data"), "--tokenizer", folder, "--workers", str(workers)
        ],
        "tokenizers": lambda out: [sys.executable, "-c", PEER, str(base / "all.jsonl"), folder, str(out)],
    }  # fmt: skip
    if find_spec("datatrove") is not None:
        script = base / "datatrove_peer.py"
        script.write_text(DATATROVE)
        found["datatrove"] = lambda out: [
            sys.executable, str(script), str(base / "source"), folder, str(out), str(workers)
        ]  # fmt: skip
    return found


def _timed(command: Callable[[Path], list[str]], out: Path) -> tuple[float, float]:
    """Seconds of wall clock, and of all processes' CPU, from start to end, in a fresh folder with a fresh cache."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    environment = {**os.environ, "CLAPAS_CACHE": str(out / "cache")}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command(out), env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


if __name__ == "__main__":
    main()
