"""Training speed: Clapas (DeepSpeed ZeRO-1, one rank) against a bare PyTorch loop over the same model.

Same model, data, optimizer, clipping and threads, fp32. Both sides train in this process and in turn, a block each,
so that the noise of the machine meets both; the ratio is the median over blocks of (bare time / Clapas time).

    python benchmarks/train.py [--threads 2] [--blocks 12] [--steps 8] [--recipe demo] [--data data/demo]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--blocks", type=int, default=12, help="blocks of steps on each side")
parser.add_argument("--steps", type=int, default=8, help="steps in a block")
parser.add_argument("--recipe", default="demo")
parser.add_argument("--data", type=Path, default=Path("data/demo"))
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import torch  # noqa: E402

from clapas.engine.ranks import Ranks, start_ranks  # noqa: E402
from clapas.loader.loader import Batch, Loader  # noqa: E402
from clapas.model.build import build_model  # noqa: E402
from clapas.model.cpu import prepare_cpu  # noqa: E402
from clapas.model.init import initialise  # noqa: E402
from clapas.recipe.recipe import Recipe, read_recipe  # noqa: E402
from clapas.train.optimizer import build_optimizer  # noqa: E402
from clapas.train.preflight import preflight  # noqa: E402
from clapas.train.train import build_engine  # noqa: E402


def batches(recipe: Recipe) -> Iterator[Batch]:
    """The run's own batches, from step 1."""
    plan = preflight(recipe, 1)
    micro = recipe.train.micro_batch_size or recipe.train.global_batch_size
    return iter(Loader(plan, rank=0, world=1, micro_batch_size=micro))


def bare(recipe: Recipe) -> Callable[[list[Batch]], float]:
    """A loop as one would write it by hand."""
    model = build_model(recipe.model, recipe.compute)
    initialise(model, recipe.seed)
    optimizer = build_optimizer(recipe.optimizer, model)

    def step(micro_batches: list[Batch]) -> float:
        total = 0.0
        count = sum(batch.target_count for batch in micro_batches)
        for batch in micro_batches:
            objective, _ = model(batch.tokens, targets_BS=batch.targets)
            loss = objective / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.gradient_clipping)
        optimizer.step()
        optimizer.zero_grad()
        return total

    return step


def ours(recipe: Recipe, ranks: Ranks) -> Callable[[list[Batch]], float]:
    """The engine as the training loop drives it."""
    engine = build_engine(recipe, ranks)

    def step(micro_batches: list[Batch]) -> float:
        (count,) = ranks.sum_all([float(sum(batch.target_count for batch in micro_batches))])
        total = 0.0
        for batch in micro_batches:
            loss, _ = engine(batch.tokens, targets_BS=batch.targets)
            engine.backward(loss, count)
            total += loss.item()
        float(engine.step(recipe.optimizer.lr))
        return ranks.sum(total) / count

    return step


def compare(recipe: Recipe) -> tuple[float, float, float]:
    """(median ratio ours / bare in tokens/s, our median tokens/s, the bare loop's)."""
    torch.set_num_threads(options.threads)
    prepare_cpu()  # as `clapas train` does; the bare loop gains from it as much
    sides = {"bare": bare(recipe), "ours": ours(recipe, start_ranks())}
    readers = {name: batches(recipe) for name in sides}
    accumulation = (
        1
        if recipe.train.micro_batch_size is None
        else (recipe.train.global_batch_size // recipe.train.micro_batch_size)
    )
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for block in range(options.blocks + 1):
        for name in sides if block % 2 else reversed(sides):
            begin = time.perf_counter()
            for _ in range(options.steps):
                sides[name](list(islice(readers[name], accumulation)))
            if block:  # the first block warms up
                seconds[name].append(time.perf_counter() - begin)
    ratio = statistics.median(b / o for b, o in zip(seconds["bare"], seconds["ours"], strict=True))
    tokens = options.steps * recipe.phases.at(1).tokens_per_step
    rates = {name: tokens / statistics.median(values) for name, values in seconds.items()}
    return ratio, rates["ours"], rates["bare"]


def first_step(repeats: int = 3) -> float:
    """Median seconds from the command to its first logged step, with warm caches."""
    times = []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            overrides = [f"run_dir={folder}/run", f"data.path={options.data}", "telemetry.log_every=1"]
            begin = time.perf_counter()
            command = [sys.executable, "-m", "clapas", "train", options.recipe, *overrides]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            metrics = Path(folder) / "run/metrics.jsonl"
            while not metrics.is_file() or not metrics.stat().st_size:
                time.sleep(0.01)
            times.append(time.perf_counter() - begin)
            process.kill()
            process.wait()
    return statistics.median(times[1:])


if __name__ == "__main__":
    chosen = read_recipe(options.recipe, [f"data.path={options.data}"])
    begin_to_first = first_step()
    result = compare(chosen)
    rows = {
        "ratio": round(result[0], 3),
        "clapas tokens/s": round(result[1]),
        "bare tokens/s": round(result[2]),
        "first step (s)": round(begin_to_first, 2),
        "threads": options.threads,
        "torch": torch.__version__,
    }
    print(json.dumps(rows, indent=2))
