"""Seconds before anything happens: `clapas --help`, and from `clapas train` to its first step with warm caches.

    python benchmarks/startup.py [--repeats 7] [--recipe demo] [--data data/demo]

Medians, each time a new process and a new run folder; the first time, which warms the caches, does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FIRST_STEP = "step 1/"
AFTER_IMPORTS = "after-imports"


def overrides(data: Path, folder: str) -> list[str]:
    """The demo's recipe into a folder of its own."""
    return [f"data.path={data}", f"run_dir={folder}/run"]


def help_seconds() -> float:
    """`clapas --help`."""
    begin = time.perf_counter()
    subprocess.run(["clapas", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def first_step_seconds(recipe: str, data: Path) -> float:
    """From the command to the line that tells of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        command = ["clapas", "train", recipe, *overrides(data, folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        if not any(line.startswith(FIRST_STEP) for line in process.stderr):
            raise RuntimeError(f"{' '.join(command)} ended before its first step")
        seconds = time.perf_counter() - begin
        process.kill()
        process.communicate()
    return seconds


def after_imports(recipe: str, data: Path) -> None:
    """In a process of its own: import all, train one step, print its seconds without the imports, and end."""
    import torch

    from clapas.engine.engine import import_deepspeed
    from clapas.recipe.recipe import read_recipe
    from clapas.train.callbacks.base import Callback
    from clapas.train.run import Run
    from clapas.train.train import train

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    import_deepspeed()
    begin = time.perf_counter()

    class FirstStep(Callback):
        def on_step(self, run: Run) -> None:
            print(time.perf_counter() - begin, flush=True)
            os._exit(0)

    with tempfile.TemporaryDirectory() as folder:
        train(read_recipe(recipe, overrides(data, folder)), callbacks=[FirstStep()])


def after_imports_seconds(recipe: str, data: Path) -> float:
    """What `after_imports` prints."""
    command = [sys.executable, __file__, AFTER_IMPORTS, "--recipe", recipe, "--data", str(data)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("child", nargs="?", choices=[AFTER_IMPORTS], help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    options = parser.parse_args()
    if options.child:
        after_imports(options.recipe, options.data)
        return
    measures: dict[str, tuple[Callable[[], float], float | None]] = {
        "`clapas --help`": (help_seconds, 0.4),
        "`clapas train` to its first step, after imports": (
            lambda: after_imports_seconds(options.recipe, options.data),
            3.0,
        ),
        "the same, from the command": (lambda: first_step_seconds(options.recipe, options.data), None),
    }
    print("| what | seconds, median | least | to reach |\n|---|---|---|---|")
    for name, (measure, reach) in measures.items():
        seconds = [measure() for _ in range(options.repeats + 1)][1:]
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {reach or ''} |", flush=True)


if __name__ == "__main__":
    main()
