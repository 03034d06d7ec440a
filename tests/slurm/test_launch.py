"""`clapas launch` on a real Slurm: two virtual nodes, each with four GPUs that compute nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clapas.launch.records import newest_launch

from .conftest import Lab
from .launched import SITE, Run, ends, job_log, logged, steps_done, wait_until

STEPS = 120
SMALL = (
    f"train.steps={STEPS}",
    "train.threads=1",
    "schedule.warmup_steps=2",
    "checkpoint.every=1000",
    "evaluation.every=50",
    "evaluation.tokens=8192",
    "telemetry.log_every=1",
)
ASKED = ("--site", SITE, "--account", "clapas@lab")


def launch(slurm: Lab, folder: Path, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """`clapas launch` of a small run on two nodes, in folder/run."""
    recipe = ("test", f"data.path={data}", "run_dir=run", *SMALL)
    return slurm.clapas("launch", *recipe, *ASKED, "--nodes", 2, *more, cwd=folder)


def test_a_run_that_is_told_to_stop_goes_on_to_the_same_end(
    slurm: Lab, clapas: Run, test_data: Path, tmp_path: Path
) -> None:
    """Signalled as before a time limit, the ranks save, the job requeues itself, and no loss differs from --nproc's."""
    result = launch(slurm, tmp_path, test_data)
    assert result.returncode == 0, result.stderr
    run, job = tmp_path / "run", result.stdout.strip()
    wait_until(lambda: steps_done(run) > 3, run, "some steps")
    slurm("scancel", "--batch", "--signal=USR1", job, cwd=tmp_path)
    recipe = ("test", f"data.path={test_data}", "run_dir=nproc", *SMALL)
    expected = clapas("train", *recipe, "--nproc", 2, cwd=tmp_path)
    assert expected.returncode == 0, expected.stderr
    wait_until(lambda: len(ends(run)) == 2, run, "two attempts to end")
    first, second = ends(run)
    assert (first["exit_code"], first["announced"], first["failed"]) == (75, True, False), job_log(run)
    assert 3 < first["step"] < STEPS
    assert (second["exit_code"], second["step"]) == (0, STEPS), job_log(run)
    assert logged(run) == logged(tmp_path / "nproc")
    environments = [json.loads(path.read_text()) for path in sorted(run.glob("segments/*/environment.json"))]
    assert [environment["ranks"] for environment in environments] == [2, 2]
