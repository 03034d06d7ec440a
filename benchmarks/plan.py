"""How long `clapas plan` takes, and how far it is off published runs.

Each plan is a fresh process, as a person starts it: processor seconds (this machine is shared) and wall seconds, the
median of `--starts`. The error is that of docs/plan.md: each run foretold by constants fitted without its publisher.

    python benchmarks/plan.py [--starts 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clapas.plan.published import left_out, read_published

RECIPE = """
name: plan-7b
model: {hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8,
        intermediate_size: 11008, vocab_size: 65536, max_position_embeddings: 4096}
data: {path: none, sequence_length: 4096}
train: {tokens: 1000000000000, global_batch_size: 1024}
precision: bf16
"""
NODES = (1, 16, 64)


def seconds(recipe: Path, nodes: int) -> tuple[float, float]:
    """(processor, wall) seconds of one `clapas plan`."""
    command = [
        sys.executable,
        "-m",
        "clapas",
        "plan",
        str(recipe),
        "--site",
        "jean-zay",
        "--nodes",
        str(nodes),
        "--json",
    ]
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - begin


def main() -> None:
    """Print a row for each number of nodes, and the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    print("| nodes | processor | wall |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as folder:
        recipe = Path(folder) / "plan-7b.yaml"
        recipe.write_text(RECIPE)
        for nodes in NODES:
            taken = [seconds(recipe, nodes) for _ in range(options.starts)]
            processor, wall = (statistics.median(values) for values in zip(*taken, strict=True))
            print(f"| {nodes} | {processor:.2f} s | {wall:.2f} s |")
    runs = read_published()
    of_others = left_out(runs)
    errors = [abs(run.error(of_others[run.publisher])) for run in runs]
    median, worst, over = statistics.median(errors), max(errors), sum(error > 0.3 for error in errors)
    print(f"\n{len(runs)} published runs: median error {median:.1%}, worst {worst:.1%}, {over} over 30 %")


if __name__ == "__main__":
    main()
