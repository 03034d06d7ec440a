"""`srun clapas train` on a real Slurm: one rank on each of two virtual nodes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_json_lines

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TWO_NODES = ("--nodes=2", "--ntasks=2", "--kill-on-bad-exit=1")
SMALL = (
    "train.steps=6",
    "train.threads=1",
    "schedule.warmup_steps=2",
    "checkpoint.every=100",
    "evaluation.every=3",
    "evaluation.tokens=8192",
    "telemetry.log_every=1",
)
LEARNED = ("step", "split", "loss", "bits_per_byte", "grad_norm", "learning_rate", "tokens", "segment")
"""What does not depend on the clock, or on the machine."""

SAY_WHO_MET = """
import os
from clapas.engine.ranks import start_ranks, stop_ranks
ranks = start_ranks()
step = int(os.environ["SLURM_STEP_ID"])
print(f"step {step} rank {ranks.rank} on {os.uname().nodename}: {ranks.sum(10.0**step):g}")
stop_ranks()
"""


def logged(run: Path) -> list[dict[str, Any]]:
    """What a run logged, steps and validations."""
    rows = read_json_lines(run / "metrics.jsonl")
    return [{key: row[key] for key in LEARNED if key in row} for row in rows]


def test_two_nodes_train_as_two_ranks_on_one(slurm: Run, clapas: Run, test_data: Path, tmp_path: Path) -> None:
    """srun and --nproc log the same losses, gradient norms and validations, to the last bit."""
    train = ("train", "test", f"data.path={test_data}", *SMALL)
    expected = clapas(*train, "run_dir=nproc", "--nproc", 2, cwd=tmp_path)
    assert expected.returncode == 0, expected.stderr
    result = slurm("srun", *TWO_NODES, sys.executable, "-m", "clapas", *train, "run_dir=srun", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    environment = json.loads((tmp_path / "srun/segments/001/environment.json").read_text())
    assert (environment["ranks"], environment["host"]) == (2, "node1")
    assert len(logged(tmp_path / "srun")) == 6 + 2
    assert logged(tmp_path / "srun") == logged(tmp_path / "nproc")


def test_two_steps_of_one_job_do_not_meet(slurm: Run, tmp_path: Path) -> None:
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
