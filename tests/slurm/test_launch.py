"""`clapas launch` on a real Slurm: two virtual nodes, each with four GPUs that compute nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from clapas.launch.records import newest_launch
from clapas.ledger.ledger import Ledger
from clapas.recipe.locks import take_lock
from undisturbed import STEPS, logged, steps_done

from .lab import PLANTED, Lab
from .launched import ASKED, ends, job_log, launch, wait_until


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_goes_on_to_the_same_end(
    slurm: Lab, undisturbed: list[dict[str, Any]], test_data: Path, tmp_path: Path
) -> None:
    """Signalled as before a time limit, the ranks save, the job requeues itself, and no loss differs from --nproc's.

    All of it in a folder of whose name sbatch would make something else.
    """
    folder = tmp_path / "l'été 100%j #1"
    folder.mkdir()
    result = launch(slurm, folder, test_data)
    assert result.returncode == 0, result.stderr
    run, job = folder / "run", result.stdout.strip()
    wait_until(lambda: steps_done(run) > 3, run, "some steps")
    slurm("scancel", "--batch", "--signal=USR1", job, cwd=tmp_path)
    wait_until(lambda: len(ends(run)) == 2, run, "two attempts to end")
    first, second = ends(run)
    assert (first["exit_code"], first["announced"], first["failed"]) == (75, True, False), job_log(run)
    assert 3 < first["step"] < STEPS
    assert (second["exit_code"], second["step"]) == (0, STEPS), job_log(run)
    assert logged(run) == undisturbed
    environments = [json.loads(path.read_text()) for path in sorted(run.glob("segments/*/environment.json"))]
    assert [environment["ranks"] for environment in environments] == [2, 2]
    written = [path for path in run.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if any(value.encode() in path.read_bytes() for value in PLANTED.values())]


REFUSED = {
    "an account of another form": (("--account", "me"), r"no account of this site has that form"),
    "an account that Slurm refuses": (("--partition", "closed"), r"Slurm refuses the job: Invalid account"),
    "a constraint that no node has": (("--partition", "a100"), r"Slurm refuses the job: Invalid feature"),
    "a QoS that there is not": (("--qos", "fast"), r"no such QoS for h100"),
    "too long for the QoS": (("--time", "2:00:00"), r"qos_lab-t3: --time 02:00:00 is over 01:00:00"),
    "too long for Slurm": (("--partition", "endless"), r"Slurm refuses the job: Requested time limit is invalid"),
    "more GPUs than the QoS has": (("--nodes", "9"), r"9 GPUs are over 8"),
    "more nodes than there are": (("--nodes", "4"), r"Slurm refuses the job: (Node count|Requested node)"),
}


def test_what_is_refused_is_said_in_one_line(slurm: Lab, test_data: Path, tmp_path: Path) -> None:
    """By the site's file or by Slurm itself: exit 2, what is wrong in the first line, and nothing in the queue."""
    for number, (what, (options, message)) in enumerate(REFUSED.items()):
        result = launch(slurm, tmp_path, test_data, f"run_dir=run-{number}", *options)
        first, *more = result.stderr.splitlines()
        assert (result.returncode, result.stdout) == (2, ""), (what, result.stderr)
        assert re.search(message, first), (what, first)
        assert all(re.match(r"  (found|wanted|way out): ", line) for line in more), (what, result.stderr)
        assert "job.sh" not in result.stderr
        assert not (tmp_path / f"run-{number}").exists()
    assert not slurm("squeue", "-h", cwd=tmp_path).stdout
    (tmp_path / "run/launch").mkdir(parents=True)
    handle = take_lock(tmp_path / "run/launch/.lock", wait=False)
    result = launch(slurm, tmp_path, test_data)
    os.close(handle)
    assert (result.returncode, result.stderr.splitlines()[0]) == (
        2, "clapas: run: this run is being launched by another command",
    )  # fmt: skip


def test_whole_nodes_get_all_their_gpus_and_a_rank_for_each(slurm: Lab, tmp_path: Path) -> None:
    """The script's directives, as Slurm understands them."""
    result = slurm.clapas("launch", "test", *ASKED, "--partition", "full", "--nodes", 2, "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    directives = [line for line in result.stdout.splitlines() if line.startswith("#SBATCH") and "--output" not in line]
    say = "srun bash -c 'echo $(hostname) $SLURM_LOCALID $CUDA_VISIBLE_DEVICES'"
    (tmp_path / "job.sh").write_text("\n".join(["#!/bin/bash", *directives, say, ""]))
    assert slurm("sbatch", "--wait", "--output=out", "job.sh", cwd=tmp_path).returncode == 0
    expected = [f"node{node} {rank} 0,1,2,3" for node in (1, 2) for rank in range(4)]
    assert sorted((tmp_path / "out").read_text().splitlines()) == expected


@pytest.mark.slow
def test_a_chain_goes_on_and_is_cancelled_with_its_work_saved(slurm: Lab, test_data: Path, tmp_path: Path) -> None:
    """One job of a chain at a time; the next goes on where one ended; cancel saves, and takes out the rest."""
    more = ("--chain", "3", "train.steps=100000")
    result = launch(slurm, tmp_path, test_data, *more)
    assert result.returncode == 0, result.stderr
    run, jobs = tmp_path / "run", result.stdout.split()
    wait_until(lambda: steps_done(run) > 2, run, "some steps")
    states = dict(line.split() for line in slurm("squeue", "-h", "-o", "%i %T", cwd=tmp_path).stdout.splitlines())
    assert states == {jobs[0]: "RUNNING", jobs[1]: "PENDING", jobs[2]: "PENDING"}
    again = launch(slurm, tmp_path, test_data, *more)
    assert again.returncode == 2
    assert "launched already" in again.stderr

    slurm("scancel", "--batch", "--signal=USR1", jobs[0], cwd=tmp_path)
    wait_until(lambda: len(ends(run)) == 1, run, "the first job to end")
    saved = ends(run)[0]["step"]
    wait_until(lambda: steps_done(run) > saved + 2, run, "the second to go on")
    status = orjson.loads(slurm.clapas("status", "run", "--json", cwd=tmp_path).stdout)
    assert [job["id"] for job in status["jobs"] if job["state"] == "RUNNING"] == [jobs[1]]
    assert (status["runs"][0]["attempts"], status["runs"][0]["failures"]) == (2, 0)
    assert status["runs"][0]["step"] > saved
    assert "ended:" not in slurm.clapas("status", "run", cwd=tmp_path).stdout  # the second is under way

    result = slurm.clapas("cancel", "run", cwd=tmp_path)
    assert sorted(result.stdout.splitlines()) == [f"job {jobs[1]}: saves and ends", f"job {jobs[2]}: cancelled"]
    followed = slurm.clapas("logs", "run", "-f", cwd=tmp_path)  # until no job is left
    assert "cancelled: the last checkpoint stands" in followed.stdout
    assert ends(run)[1]["step"] > saved
    verified = orjson.loads(slurm.clapas("checkpoint", "verify", "run", "--json", cwd=tmp_path).stdout)
    assert [(row["step"], row["problem"]) for row in verified] == [(event["step"], None) for event in ends(run)]
    assert "cancelled" in slurm.clapas("status", "run", cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_run_that_cannot_save_before_the_limit_begins_again(slurm: Lab, test_data: Path, tmp_path: Path) -> None:
    """A rank that stands still when the signal comes would keep the job until its limit, which ends it for good."""
    run = tmp_path / "run"
    run.mkdir()
    Ledger(run).append("checkpoint", segment=0, step=0, save_seconds=0.1)  # so the lead is short
    result = launch(slurm, tmp_path, test_data, "train.steps=100000", "checkpoint.every=5", nodes=1)
    assert result.returncode == 0, result.stderr
    wait_until(lambda: steps_done(run) > 7, run, "some steps")
    stop_rank(run)
    slurm("scancel", "--batch", "--signal=USR1", result.stdout.strip(), cwd=tmp_path)
    wait_until(lambda: len(newest_launch(run).attempts()) == 3, run, "the next attempt")
    began, ended, again = newest_launch(run).attempts()
    assert "DUE TO JOB REQUEUE" in job_log(run)  # and SIGCONT, by which the rank may save after all
    assert again["step"] == ended["step"] >= 5
    assert again["job"] == began["job"]
    assert slurm.clapas("cancel", "run", "--now", cwd=tmp_path).returncode == 0
    wait_until(lambda: not slurm("squeue", "-h", cwd=tmp_path).stdout, run, "the queue to be empty")


def stop_rank(run: Path) -> None:
    """Have the process that trains in a folder stand still."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"python" in words[0] and bytes(run) in b" ".join(words) and b"train" in words:
                os.kill(int(process.name), signal.SIGSTOP)
                return
    raise AssertionError("no process trains there")


@pytest.mark.slow
def test_a_sweep_is_an_array_whose_runs_share_nodes_and_do_not_collide(
    slurm: Lab, undisturbed: list[dict[str, Any]], test_data: Path, tmp_path: Path
) -> None:
    """Both train at once on the same two nodes, each in a folder of its own, as alone (3e-3 is the recipe's own)."""
    result = launch(slurm, tmp_path, test_data, "--sweep", "optimizer.lr=1e-3,3e-3")
    assert result.returncode == 0, result.stderr
    job = result.stdout.strip()
    runs = [tmp_path / f"run/optimizer.lr={rate}" for rate in ("1e-3", "3e-3")]
    wait_until(lambda: all(map(steps_done, runs)), tmp_path / "run", "both to train")
    states = slurm("squeue", "-h", "--array", "-o", "%i %T %N", cwd=tmp_path).stdout.splitlines()
    assert sorted(states) == [f"{job}_{task} RUNNING node[1-2]" for task in (0, 1)]
    slurm("scancel", "--batch", "--signal=USR1", f"{job}_1", cwd=tmp_path)  # this one has the array's own number
    wait_until(lambda: all(steps_done(run) == STEPS for run in runs), tmp_path / "run", "both to end")
    wait_until(lambda: not slurm("squeue", "-h", cwd=tmp_path).stdout, tmp_path / "run", "the queue to be empty")
    status = orjson.loads(slurm.clapas("status", "run", "--json", cwd=tmp_path).stdout)
    assert [(run["run"], run["step"], run["outcome"]["exit_code"]) for run in status["runs"]] == [
        (str(run), STEPS, 0) for run in runs
    ]
    assert [run["attempts"] for run in status["runs"]] == [1, 2]
    assert "ended:    " in slurm.clapas("status", "run", cwd=tmp_path).stdout
    assert logged(runs[1]) == undisturbed != logged(runs[0])


@pytest.mark.slow
def test_before_the_time_limit_the_run_saves_and_the_job_requeues(slurm: Lab, test_data: Path, tmp_path: Path) -> None:
    """Slurm's own signal, some time before the wall; what was saved is where the next attempt begins."""
    lasting = ("train.steps=100000", "evaluation.every=100000", "telemetry.log_every=10")
    result = launch(slurm, tmp_path, test_data, *lasting, "--time", "0:02:00", nodes=1)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "run"
    assert "--signal=B:USR1@60 " in (newest_launch(run).folder / "job.sh").read_text()
    wait_until(lambda: len(newest_launch(run).attempts()) == 3, run, "the next attempt")
    began, ended, again = newest_launch(run).attempts()
    assert (ended["exit_code"], ended["announced"], ended["failed"]) == (75, True, False), job_log(run)
    assert ended["time"] - began["time"] < 115
    assert again["step"] == ended["step"] > 0
    assert slurm.clapas("cancel", "run", "--now", cwd=tmp_path).returncode == 0
    wait_until(lambda: not slurm("squeue", "-h", cwd=tmp_path).stdout, run, "the queue to be empty")
