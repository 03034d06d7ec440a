"""Supervised fine-tuning against TRL's SFTTrainer: tokens/s without padding, the sides training in turn in one run.

    python benchmarks/sft.py [--length 1024] [--batch 2] [--rounds 8] [--seconds 3]

Same model, conversations (the labour ministry's guides, one to three questions each), chat template, loss on the
assistant's tokens alone, optimizer, fp32 and threads. Ours packs, as it comes; TRL's with `packing=True`, and with its
defaults, whose batch has about as many tokens. A figure is the median over rounds of our tokens/s divided by theirs.
Needs the demo's tokenizer (`make demo`) and the dev extra.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from peers.job import Job, Shape
from peers.race import Result, Side, race

from clapas_data.chat.build import chat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import sft_demo_data

SHAPE = Shape(hidden_size=256, layers=4, intermediate_size=704, vocab_size=8192)
WANTED = {"TRL packed": 1.15, "TRL default": 1.5}
LONGEST_ANSWER = 1500
"""Characters."""


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, default=Path("data/demo/tokenizer"))
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mean = write_examples(folder, options.tokenizer, options.length)
        job = Job(SHAPE, str(folder / "examples"), "", batch=options.batch, sequence_length=options.length)
        job = replace(job, threads=options.threads, cpu_settings=True)
        unpacked = max(1, round(options.batch * options.length / mean))
        sides = [
            Side("ours", "sft_ours.py", job),
            Side("TRL packed", "sft_trl.py", replace(job, compile=True)),
            Side("TRL default", "sft_trl.py", replace(job, batch=unpacked)),
        ]
        logs = Path(tempfile.gettempdir()) / "clapas-benchmark-sft"
        results = race(sides, rounds=options.rounds, block_seconds=options.seconds, warm_up=3, logs=logs)
    ours, *others = results
    print(f"ours: {statistics.median(rates(ours)):,.0f} tokens/s, {tokens_per_step(ours):,.0f} a step")
    for other in others:
        ratios = [a / b for a, b in zip(rates(ours), rates(other), strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        speed = f"{statistics.median(rates(other)):,.0f} tokens/s, {tokens_per_step(other):,.0f} a step"
        wanted = WANTED[other.side.name]
        print(f"{other.side.name}: {speed}; ours is {middle:.2f} times as fast ({low:.2f} to {high:.2f}), of {wanted}")


def write_examples(folder: Path, tokenizer: Path, length: int) -> float:
    """Conversations of one to three questions as `rows.jsonl` and `examples/`; returns their mean tokens."""
    sft_demo_data.LONGEST_ANSWER = LONGEST_ANSWER
    asked, shuffled = list(sft_demo_data.conversations()), random.Random(0)
    shuffled.shuffle(asked)
    rows = []
    while asked:
        turns = [asked.pop()["messages"] for _ in range(min(len(asked), shuffled.randint(1, 3)))]
        rows.append({"messages": [message for turn in turns for message in turn]})  # pyright: ignore[reportGeneralTypeIssues]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"tokenizer": tokenizer, "licences": ["etalab-2.0"]}
    values = chat([folder / "rows.jsonl"], folder / "examples", **options).values()
    print(f"{values['examples']} conversations, {values['tokens']} tokens, the longest {values['longest']} of {length}")
    return values["tokens"] / values["examples"]


def tokens_per_step(result: Result) -> float:
    """Mean tokens, padding left out."""
    return result.facts["tokens"] / result.facts["steps"]


def rates(result: Result) -> list[float]:
    """Tokens a second of each block."""
    return [tokens_per_step(result) / seconds for seconds in result.step_seconds]


if __name__ == "__main__":
    main()
