"""Launched runs whose nodes fail, on a real Slurm. What kills a node here kills its slurmd and all tasks at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.launch.records import newest_launch
from undisturbed import STEPS, logged, steps_done

from .lab import Lab
from .launched import ends, job_log, launch, wait_until

OFTEN = "checkpoint.every=5"
"""So that there is something to go back to."""


def state(slurm: Lab, folder: Path, node: str, new: str) -> None:
    """Tell Slurm what a node is, as an administrator does."""
    result = slurm("scontrol", "update", f"NodeName={node}", f"State={new}", "Reason=test", cwd=folder)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_node_that_goes_down_twice_is_left_out(
    slurm: Lab, undisturbed: list[dict[str, Any]], test_data: Path, tmp_path: Path
) -> None:
    """Slurm starts the job again elsewhere, exactly where its checkpoint is; the second failure excludes the node."""
    result = launch(slurm, tmp_path, test_data, OFTEN, "--partition", "pair", nodes=1)
    assert result.returncode == 0, result.stderr
    run, job = tmp_path / "run", result.stdout.strip()
    wait_until(lambda: steps_done(run) > 7, run, "some steps")
    history = newest_launch(run)
    (began,) = history.attempts()
    (bad,) = began["nodes"]
    other = {"node1": "node2", "node2": "node1"}[bad]
    history.record("end", attempt=0, exit_code=1, reason="another time", failed=True, failed_nodes=[bad])
    history.record(**began)
    state(slurm, tmp_path, other, "DRAIN")  # so that the job comes back to where it was
    state(slurm, tmp_path, bad, "DOWN")
    wait_until(lambda: bad in slurm("squeue", "-h", "-j", job, "-o", "%x", cwd=tmp_path).stdout, run, "the exclusion")
    state(slurm, tmp_path, other, "RESUME")
    wait_until(lambda: len(ends(run)) == 3, run, "the end")
    _, failed, finished = ends(run)
    assert (failed["failed"], failed["failed_nodes"]) == (True, [bad]), job_log(run)
    last = history.attempts()[-2]
    assert (last["event"], last["nodes"], last["step"]) == ("begin", [other], failed["step"]), job_log(run)
    assert 5 <= last["step"] < STEPS
    assert (finished["exit_code"], finished["step"]) == (0, STEPS), job_log(run)
    assert logged(run) == undisturbed


@pytest.mark.slow
def test_a_node_that_comes_back_before_it_was_missed(
    slurm: Lab, undisturbed: list[dict[str, Any]], test_data: Path, tmp_path: Path
) -> None:
    """Its tasks are dead, and to Slurm the job looks alive: the ranks end it, and it goes on exactly."""
    result = launch(slurm, tmp_path, test_data, OFTEN, "faults.stall_seconds=20")
    assert result.returncode == 0, result.stderr
    run = tmp_path / "run"
    wait_until(lambda: steps_done(run) > 7, run, "some steps")
    slurm.crash(2)
    slurm.boot(2)
    wait_until(lambda: len(ends(run)) == 2, run, "two attempts to end")
    crashed, finished = ends(run)
    assert (crashed["failed"], crashed["failed_nodes"]) == (True, ["node2"]), job_log(run)
    assert (finished["exit_code"], finished["step"]) == (0, STEPS), job_log(run)
    assert logged(run) == undisturbed
