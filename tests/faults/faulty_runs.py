"""Runs to which something is done: what the tests of faults share."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from commands import clapas_environment

TRAIN = """
import ctypes, os, signal, sys, time
import torch
import clapas.cli.training
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.base import Callback
from clapas.train.train import train

RANK = int(os.environ["RANK"])

class Fault(Callback):
    def before_step(self, run):
        step = run.step + 1
        {before_step}

clapas.cli.training._train = lambda options: train(read_recipe(options.recipe, options.overrides), callbacks=[Fault()])
clapas.cli.main(["train", "test", *sys.argv[1:]])
"""
"""`clapas train test`, with one callback more."""
GRACE_SECONDS = 15
"""How long a rank may outlive rank 0, before it is killed, as launchers do."""


def run_with_fault(
    folder: Path, data: Path, *overrides: str, before_step: str = "pass", ranks: int = 2
) -> list[subprocess.CompletedProcess[str]]:
    """Train in `folder`/run; `before_step` is run before each `step` on each RANK. How each rank ended, in order."""
    given = (
        f"data.path={data}",
        "run_dir=run",
        "train.steps=6",
        "schedule.warmup_steps=1",
        "evaluation.every=100",
    )
    command = [sys.executable, "-c", TRAIN.format(before_step=before_step), *given, *overrides]
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)  # of the start before
    started = []
    for rank in range(ranks):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
        environment = {**clapas_environment(), **place, "CLAPAS_RENDEZVOUS": f"file://{meeting}"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))
    ended = []
    for rank, process in enumerate(started):
        output, errors = "", ""
        if rank and is_stopped(process.pid):  # rank 0 has ended
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, errors = process.communicate(timeout=GRACE_SECONDS if rank else 120)
        if process.poll() is None:
            process.kill()
            output, errors = process.communicate()
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, output, errors))
    return ended


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
