"""Before anything happens: seconds of `clapas --help`, of each import and to the first step; files that are asked for.

    python benchmarks/startup.py [--repeats 7] [--recipe demo] [--data data/demo]

Medians, each time a new process and a new run folder; the first time, which warms the caches, does not count. What is
asked of the file system is counted by strace, where it is installed: calls that take a path, of one rank, until its
first step.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

IMPORTS = {
    "import torch": "import torch",
    "import deepspeed, after it": "from clapas.engine.engine import import_deepspeed; import_deepspeed()",
    "import clapas.train, after both": "import clapas.train.train",
    "import torch._dynamo, at the first update": "import torch._dynamo",
}
"""What a rank imports, in this order, each after those above. Torch's optimizers load the compiler, used or not."""
PLACES = ("site-packages", "lib/python", "the data", "the run", "elsewhere")
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
    import torch._dynamo  # the first update imports it, whether anything is compiled or not

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


def import_seconds() -> dict[str, tuple[float, int]]:
    """Each of `IMPORTS` -> its seconds and how many modules it loaded, in a process of its own."""
    lines = ["import sys, time"]
    for statement in IMPORTS.values():
        lines += ["at, had = time.perf_counter(), len(sys.modules)", statement]
        lines += ["print(time.perf_counter() - at, len(sys.modules) - had)"]
    output = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in output.splitlines()]
    return {name: (float(row[0]), int(row[1])) for name, row in zip(IMPORTS, rows, strict=True)}


def file_calls(recipe: str, data: Path) -> Counter[str]:
    """Place -> how many calls one rank makes about paths there, from the command to the end of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        trace = ["strace", "-f", "-qq", "-e", "trace=%file", "-e", "signal=none", "-o", f"{folder}/calls"]
        command = [sys.executable, __file__, AFTER_IMPORTS, "--recipe", recipe, "--data", str(data)]
        subprocess.run([*trace, *command], check=True, capture_output=True)
        lines = Path(folder, "calls").read_text(errors="replace").splitlines()
    return Counter(place(line, data) for line in lines)


def place(call: str, data: Path) -> str:
    """What a call is about."""
    if f"{data}/" in call:
        return "the data"
    if "/run" in call and "/tmp/tmp" in call:
        return "the run"
    return next((name for name in PLACES[:2] if name in call), "elsewhere")


def main() -> None:
    """Print Markdown tables."""
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

    print("\n| what | seconds, median | modules |\n|---|---|---|")
    turns = [import_seconds() for _ in range(options.repeats + 1)][1:]
    for name in IMPORTS:
        seconds = statistics.median(turn[name][0] for turn in turns)
        print(f"| {name} | {seconds:.2f} | {turns[0][name][1]:,} |", flush=True)
    if shutil.which("strace"):
        calls = file_calls(options.recipe, options.data)
        print("\n| calls of one rank about paths in | |\n|---|---|")
        for name in PLACES:
            print(f"| {name} | {calls[name]:,} |")


if __name__ == "__main__":
    main()
