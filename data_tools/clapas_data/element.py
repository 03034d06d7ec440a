"""One element of a job array: its share of a stage's tasks, or some stages of one task each, in their order.

    python -m clapas_data.element --out DIR --stages read --elements 1000

Run again, it does what is not done. What made it fail is left in DIR/.build/failed/ until it succeeds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import EXIT_DONE, EXIT_FAILED, ClapasError
from clapas.recipe.files import atomic_write
from clapas_data.build import build_stages, open_build
from clapas_data.local import run_tasks
from clapas_data.manifest import MANIFEST
from clapas_data.workers import Workers
from clapas_data.write import BuildFolder

FAILED = "failed"


def main(arguments: list[str] | None = None) -> int:
    """Run an element; its exit code."""
    options = _options(arguments)
    for number in (signal.SIGTERM, signal.SIGUSR1):  # preempted, or by `clapas cancel`: what is half written is removed
        signal.signal(number, _end)
    if (options.out / MANIFEST).exists():
        print(f"{options.out}: built already, nothing to do", file=sys.stderr)
        return EXIT_DONE
    folder = open_build(options.out)
    failure = folder.own / FAILED / f"{options.stages[0]}-{options.element}.json"
    try:
        run_element(folder, options.stages, options.element, options.elements, options.workers)
    except Exception as error:
        told = isinstance(error, ClapasError)
        words = str(error) if told else "".join(traceback.format_exception(error))
        print(f"clapas: {words}", file=sys.stderr)
        failure.parent.mkdir(exist_ok=True)
        facts = {"message": words, "host": os.uname().nodename, "time": round(time.time())}
        atomic_write(failure, orjson.dumps(facts))
        return error.exit_code if isinstance(error, ClapasError) else EXIT_FAILED
    failure.unlink(missing_ok=True)
    return EXIT_DONE


def run_element(folder: BuildFolder, names: list[str], element: int, elements: int, workers: int) -> None:
    """Do an element's share of some stages. Raises what a task raises."""
    stages = {stage.name: stage for stage in build_stages(folder, folder.work.corpus)}
    with Workers(workers) as pool:
        for name in names:
            began, tasks = time.monotonic(), stages[name].share(element, elements)
            run_tasks(stages[name], tasks, pool, folder.work.note_seconds)
            seconds = time.monotonic() - began
            print(f"{name}: element {element} of {elements}: {len(tasks)} done in {seconds:.1f} s", file=sys.stderr)


def failures(folder: BuildFolder) -> dict[str, dict[str, Any]]:
    """What made elements fail since they last succeeded: `stage-element` -> message, host and time."""
    found = sorted((folder.own / FAILED).glob("*.json"))
    return {path.stem: orjson.loads(path.read_bytes()) for path in found}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m clapas_data.element", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stages", type=lambda text: text.split(","), required=True)
    parser.add_argument("--elements", type=int, default=1)
    parser.add_argument("--element", type=int, default=int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args(arguments)


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
