"""Ranks that srun starts, on a real Slurm of two virtual nodes. What `clapas launch` submits: test_launch.py."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from .lab import Lab

TWO_NODES = ("--nodes=2", "--ntasks=2", "--kill-on-bad-exit=1")

SAY_WHO_MET = """
import os
from clapas.engine.ranks import start_ranks, stop_ranks
ranks = start_ranks()
step = int(os.environ["SLURM_STEP_ID"])
print(f"step {step} rank {ranks.rank} on {os.uname().nodename}: {ranks.sum(10.0**step):g}")
stop_ranks()
"""


def test_two_steps_of_one_job_do_not_meet(slurm: Lab, tmp_path: Path) -> None:
    """Two srun at once in one job share its id, and here its first node's ports: each sums over its own ranks."""
    step = shlex.join(["srun", "--exact", *TWO_NODES, sys.executable, "-c", SAY_WHO_MET])
    job = ("salloc", "--nodes=2", "--ntasks-per-node=2")
    result = slurm(*job, "bash", "-c", f"{step} & {step} & wait", cwd=tmp_path)
    assert sorted(result.stdout.splitlines()) == [
        "step 0 rank 0 on node1: 2",
        "step 0 rank 1 on node2: 2",
        "step 1 rank 0 on node1: 20",
        "step 1 rank 1 on node2: 20",
    ], result.stderr
