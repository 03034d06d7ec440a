"""Training speed against what others train with: the sides of a comparison train in turn, in one run.

Same shape, tokens, batch, optimizer, clipping and threads. Ours is the loop of `clapas train` with all its defaults,
metrics and telemetry included. A figure is the median over rounds of our tokens/s divided by theirs.

    python benchmarks/train.py [GROUP ...] [--shape demo|larger] [--starts 2] [--rounds 12] [--seconds 1.5]

GROUPS: fp32, bf16 (a bare loop), ddp (two ranks), vocabulary-4k, vocabulary-32k, vocabulary-128k (Hugging Face's
Trainer), litgpt. All by default. The tokens are those of the demo (data/demo: run `make demo` first), ids modulo the
vocabulary where that is smaller. Needs `pip install -e '.[benchmarks]'`, and for LitGPT what peers/lit_gpt.py says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from peers.job import Job, Shape
from peers.race import Result, Side, race

from clapas_data.manifest import open_manifest
from clapas_data.shards import ShardWriter, TokenShard, token_dtype

SHAPES = {
    "demo": Shape(hidden_size=128, layers=4, intermediate_size=352, vocab_size=8192),
    "larger": Shape(hidden_size=512, layers=6, intermediate_size=1408, vocab_size=8192),
}
LITGPT = Path(".venv-litgpt/bin/python")
COLUMNS = ("ours", "against", "ratio", "quartiles", "to reach", "our tokens/s", "their tokens/s", "loader's share")


@dataclass(frozen=True, slots=True)
class Figure:
    """Tokens/s of side `ours` divided by those of side `theirs`. reach: the least wanted; None: it is only told."""

    ours: str
    theirs: str
    reach: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Sides that race together."""

    sides: Callable[[Job], list[Side]]
    figures: tuple[Figure, ...]
    vocab_size: int = 8192


def one_rank(precision: str, job: Job) -> list[Side]:
    """A bare loop and ours."""
    job = replace(job, precision=precision)
    return [Side("bare", "bare.py", job), Side("ours", "ours.py", job)]


def two_ranks(job: Job) -> list[Side]:
    """Bare DDP, and ours at each stage of ZeRO; a thread a rank."""
    job = replace(job, ranks=2, threads=1)
    stages = [Side(f"ours ZeRO-{stage}", "ours.py", replace(job, zero_stage=stage)) for stage in range(4)]
    return [Side("DDP", "bare.py", job), *stages]


def trainer(job: Job) -> list[Side]:
    """Hugging Face's Trainer as it comes, with our CPU settings, and compiled; ours, and ours compiled."""
    return [
        Side("Trainer", "hf_trainer.py", job),
        Side("Trainer with our CPU settings", "hf_trainer.py", replace(job, cpu_settings=True)),
        Side("Trainer compiled", "hf_trainer.py", replace(job, compile=True)),
        Side("ours", "ours.py", job),
        Side("ours compiled", "ours.py", replace(job, compile=True)),
    ]


def litgpt(job: Job) -> list[Side]:
    """LitGPT as it comes (compiled), and with our CPU settings; ours, and ours compiled."""
    compiled = replace(job, compile=True)
    return [
        Side("LitGPT", "lit_gpt.py", compiled, LITGPT),
        Side("LitGPT with our CPU settings", "lit_gpt.py", replace(compiled, cpu_settings=True), LITGPT),
        Side("LitGPT eager", "lit_gpt.py", job, LITGPT),
        Side("ours", "ours.py", job),
        Side("ours compiled", "ours.py", compiled),
    ]


TRAINER = (
    Figure("ours", "Trainer", 1.15),
    Figure("ours compiled", "Trainer", 1.30),
    Figure("ours compiled", "Trainer compiled", 1.05),
    Figure("ours", "Trainer with our CPU settings", None),
)
GROUPS = {
    "fp32": Group(partial(one_rank, "fp32"), (Figure("ours", "bare", 0.97),)),
    "bf16": Group(partial(one_rank, "bf16"), (Figure("ours", "bare", 0.97),)),
    "ddp": Group(
        two_ranks, tuple(Figure(f"ours ZeRO-{stage}", "DDP", 0.88 if stage == 3 else 0.95) for stage in range(4))
    ),
    "vocabulary-4k": Group(trainer, TRAINER, vocab_size=4096),
    "vocabulary-32k": Group(trainer, TRAINER, vocab_size=32_768),
    "vocabulary-128k": Group(trainer, TRAINER, vocab_size=131_072),
    "litgpt": Group(
        litgpt,
        (
            Figure("ours compiled", "LitGPT", 1.20),
            Figure("ours", "LitGPT eager", None),
            Figure("ours compiled", "LitGPT with our CPU settings", None),
        ),
    ),
}


def write_tokens(data: Path, vocab_size: int, folder: Path) -> tuple[str, str]:
    """The training tokens of `data` as one bare Megatron shard in `folder`, ids modulo `vocab_size`.

    Returns the path of its `.bin`, and its dtype.
    """
    manifest = open_manifest(data)
    dtype = token_dtype(vocab_size)
    with ShardWriter(folder / "tokens", dtype) as writer:
        for entry in manifest.shards:
            if entry.split == "train":
                tokens = TokenShard(data, entry).read(0, entry.tokens)
                writer.add((tokens.astype(np.int64) % vocab_size).astype(dtype))
    (folder / "tokens.crc").unlink()  # bare: no manifest goes with it
    return str(folder / "tokens.bin"), dtype.name


def compare(group: Group, job: Job, options: argparse.Namespace, logs: Path) -> list[Result]:
    """Race a group's sides `options.starts` times from the start: a process may be lucky in its memory's layout."""
    together = [Result(side) for side in group.sides(job)]
    for start in range(options.starts):
        results = race(
            [result.side for result in together],
            rounds=options.rounds,
            block_seconds=options.seconds,
            warm_up=options.warm_up,
            logs=logs / str(start),
        )
        for all_of, more in zip(together, results, strict=True):
            all_of.step_seconds.extend(more.step_seconds)
            all_of.facts.update(more.facts)
    return together


def rows_of(figures: tuple[Figure, ...], results: list[Result]) -> list[dict[str, object]]:
    """One row a figure: the median ratio, the quartiles around it, and the median rates."""
    by_name = {result.side.name: result for result in results}
    rows: list[dict[str, object]] = []
    for figure in figures:
        ours, theirs = by_name[figure.ours], by_name[figure.theirs]
        ratios = [b / a for a, b in zip(ours.step_seconds, theirs.step_seconds, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        tokens = ours.side.job.batch * ours.side.job.sequence_length
        rates = (round(tokens / statistics.median(side.step_seconds)) for side in (ours, theirs))
        share = round(ours.facts["data_share"], 5)
        values = (figure.ours, figure.theirs, round(middle, 3), f"{low:.3f}-{high:.3f}", figure.reach, *rates, share)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def main() -> None:
    """Print a Markdown row for each figure as it is known, and write all to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), metavar="GROUP", help="by default all")
    parser.add_argument("--shape", choices=SHAPES, default="demo")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="blocks of each side")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a block of the slowest side; a step at least")
    parser.add_argument("--warm-up", type=int, default=4, help="steps of each side before the first round")
    parser.add_argument("--starts", type=int, default=1, help="how often all sides are started anew")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-train"), help="logs and result.json")
    options = parser.parse_args()
    found: dict[str, list[dict[str, object]]] = {}
    print(f"| group | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    for name in options.groups:
        group = GROUPS[name]
        with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as folder:
            tokens, dtype = write_tokens(options.data, group.vocab_size, Path(folder))
            shape = replace(SHAPES[options.shape], vocab_size=group.vocab_size)
            results = compare(group, Job(shape, tokens, dtype, threads=options.threads), options, options.out / name)
        found[name] = rows_of(group.figures, results)
        for row in found[name]:
            print(f"| {name} | {' | '.join(map(str, row.values()))} |", flush=True)
    (options.out / "result.json").write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
