"""Runs that faults befall: what the tests here share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from clapas.ledger.ledger import read_json_lines
from commands import clapas_environment, python

SMALL = ("schedule.warmup_steps=1", "evaluation.every=100", "train.threads=1")


def start(
    folder: Path, data: Path, *overrides: str, nproc: int = 1, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """`clapas train test` in `folder`, its run in folder/run. before: what it is started by, as `prlimit`."""
    arguments = ["train", "test", f"data.path={data}", "run_dir=run", *SMALL, *overrides, "--nproc", str(nproc)]
    command = [*before, sys.executable if before else python(), "-m", "clapas", *arguments]
    return subprocess.Popen(command, cwd=folder, env=clapas_environment(), stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit code, what it said)."""
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it holds; fails where the process ends before."""
    while not condition():
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it ended first: {process.stderr.read() if process.stderr else ''}")


def wait_for_lines(awaited: Collection[str], process: subprocess.Popen[str]) -> None:
    """Until it has said all of them on stderr, in whatever order. Fails where the process ends before."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if all(words in said for words in awaited):
            return
    raise AssertionError(f"it ended first: {said}")


def events(folder: Path, event: str) -> list[int]:
    """The steps of the ledger's events of a kind."""
    path = folder / "run/ledger.jsonl"
    return [row["step"] for row in read_json_lines(path) if row["event"] == event] if path.is_file() else []


def rows(folder: Path) -> list[tuple[int, float, float]]:
    """(step, loss, gradient norm) of each step."""
    found = [row for row in read_json_lines(folder / "run/metrics.jsonl") if "split" not in row]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in found]
