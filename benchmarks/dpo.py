"""DPO against TRL's DPOTrainer: pairs/s on the same model and pairs, CPU, fp32; the sides train in turn, in one run.

Pairs are cut from the text of `--data`: a prompt, what follows it, and what follows another; lengths are log-normal
(prompts about 64 tokens, answers about 96). TRL's batch is 8 pairs; ours packs them, about as many a step. Ours counts
with the pass of the reference, its time spread over one epoch; so does TRL with `precompute_ref_log_probs`. TRL's own
default also recomputes activations in the backward pass (gradient_checkpointing), which on a CPU only costs: it stands
apart. A figure is the median over rounds.

    python benchmarks/dpo.py [--shape demo|larger] [--pairs 240] [--rounds 9] [--seconds 4] [--data data/demo]

Needs `pip install -e '.[dev]'` (trl).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from peers.dpo_job import DpoJob
from peers.race import PROBE_STEPS, Racer, Side

from clapas_data.examples import Example, Sequence, write_examples
from clapas_data.manifest import ExamplesRecord, Manifest, SourceRecord, open_manifest
from clapas_data.shards import TokenShard

SHAPES: dict[str, dict[str, Any]] = {
    "demo": {"hidden_size": 128, "layers": 4, "intermediate_size": 352},
    "larger": {"hidden_size": 512, "layers": 6, "intermediate_size": 1408},
}
PROMPT, ANSWER, SPREAD = 64, 96, 0.6
LENGTH = 512
"""Of a sample of ours: the longest pair fits."""
WANTED = 1.3


@dataclass(slots=True)
class Blocks:
    """A side's blocks: pairs/s without and with the reference's pass."""

    steps: list[float]
    whole: list[float]


def write_pairs(data: Manifest, out: Path, count: int) -> None:
    """So many pairs of the corpus's own text."""
    assert data.tokenizer is not None
    entry = data.shards[data.of_split("train")[0]]
    text = TokenShard(data.folder, entry).read(0, entry.tokens).astype(np.int64)
    text = text[text != data.tokenizer.eos]
    random = np.random.default_rng(0)

    def size(median: int, most: int) -> int:
        return int(np.clip(random.lognormal(np.log(median), SPREAD), 8, most))

    def examples() -> Iterator[Example]:
        for number in range(count):
            prompt, sides = size(PROMPT, 80), [size(ANSWER, 170) for _ in range(2)]
            starts = random.integers(0, len(text) - 300, 2)
            first = int(starts[0]) + prompt
            answers = [text[first : first + sides[0]], text[starts[1] : starts[1] + sides[1]]]
            asked = text[starts[0] : first]
            turns = [np.append(np.zeros(prompt, np.uint8), np.ones(len(answer), np.uint8)) for answer in answers]
            sequences = tuple(
                Sequence(np.append(asked, answer), turn) for answer, turn in zip(answers, turns, strict=True)
            )
            yield Example(split="train", source="pairs", id=str(number), sequences=sequences, text_bytes=(1, 1))

    write_examples(
        out,
        examples(),
        name="pairs",
        tokenizer=data.folder / "tokenizer",
        record=ExamplesRecord(kind="pairs", documents_per_example=2),
        sources={"pairs": SourceRecord(licence="unknown")},
    )


def race(sides: list[Side], options: argparse.Namespace) -> dict[str, Blocks]:
    """Let the sides train in turn."""
    options.out.mkdir(parents=True, exist_ok=True)
    racers: list[Racer] = []
    found = {side.name: Blocks([], []) for side in sides}
    try:
        steps, before = dict[str, int](), dict[str, int]()
        for side in sides:
            racers.append(Racer(side, options.out / f"{side.name.replace(' ', '-')}.log"))
            racers[-1].turn(2)
            seconds, facts = racers[-1].turn(PROBE_STEPS)
            steps[side.name] = max(1, round(options.seconds * PROBE_STEPS / seconds))
            before[side.name] = facts["pairs"]
        for number in range(options.rounds):
            for racer in racers if number % 2 else reversed(racers):
                name = racer.side.name
                seconds, facts = racer.turn(steps[name])
                pairs, before[name] = facts["pairs"] - before[name], facts["pairs"]
                found[name].steps.append(pairs / seconds)
                found[name].whole.append(pairs / (seconds + pairs * facts["reference_seconds"]))
        return found
    finally:
        for racer in racers:
            racer.close()


def main() -> None:
    """Print a Markdown row a side, and write all to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="larger")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--pairs", type=int, default=240, help="of an epoch: the reference's pass is over all of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="blocks of each side")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a block; a step at least")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-dpo"), help="logs and result.json")
    options = parser.parse_args()
    data = open_manifest(options.data)
    assert data.tokenizer is not None
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as scratch:
        folder = Path(scratch) / "pairs"
        write_pairs(data, folder, options.pairs)
        size = data.tokenizer.vocab_size
        job: Any = DpoJob(
            **SHAPES[options.shape],
            vocab_size=size,
            folder=str(folder),
            threads=options.threads,
            sequence_length=LENGTH,
        )
        sides = [
            Side("ours", "dpo_ours.py", replace(job, batch=6)),  # samples of 512 tokens: about 8 pairs
            Side("TRL", "dpo_trl.py", job),
            Side("TRL precomputed", "dpo_trl.py", replace(job, precompute=True)),
            Side("TRL recomputing", "dpo_trl.py", replace(job, recompute=True)),
        ]
        found = race(sides, options)
    print("| side | pairs/s | with the reference's pass | ours over it (quartiles) | to reach |\n|---|---|---|---|---|")
    for name, blocks in found.items():
        ratios = [a / b for a, b in zip(found["ours"].whole, blocks.whole, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rates = f"{statistics.median(blocks.steps):.2f} | {statistics.median(blocks.whole):.2f}"
        print(f"| {name} | {rates} | {middle:.3f} ({low:.3f}-{high:.3f}) | {WANTED if name == 'TRL' else ''} |")
    (options.out / "result.json").write_text(json.dumps({k: [b.steps, b.whole] for k, b in found.items()}, indent=2))


if __name__ == "__main__":
    main()
