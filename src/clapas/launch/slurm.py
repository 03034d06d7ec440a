"""Slurm's commands, asked with time-outs and read as text: their JSON changes its shape from version to version.

What Slurm refuses is one message of ours around its own words.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clapas.recipe.errors import ClapasError, UserError

SECONDS = 60
"""A busy controller answers late; one that is gone never does."""
REFUSALS = {
    "account": "--account: `sacctmgr show associations user=$USER format=account%30` lists yours (IDRIS: `idracct`)",
    "qos": "--qos: `sacctmgr show qos format=name%30,maxwall` lists them",
    "feature": "the site's `constraint`: `sinfo -o '%P %f'` lists what there is",
    "time limit": "--time: `sinfo -o '%P %l'` lists the limits; --chain N goes on where a job ends",
    "partition": "the site's `partition`: `sinfo -s` lists them",
    "node count": "--nodes: `sinfo -s` says how many there are",
    "node configuration": "the site's GPUs and cores a node: `sinfo -o '%P %D %c %G'` lists what there is",
}
"""What is in Slurm's words -> where to look. In this order: its words on accounts name partitions too."""
REASON = re.compile(r"Reason=.*\[\w+@(\S+)\]")
"""Why a node is out of use, by whom and since when."""
LARGEST_ARRAY = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)
DEFAULT_LARGEST_ARRAY = 1001
"""Slurm's own, where it does not say (slurm.conf(5), MaxArraySize)."""
AFTERMATH_SECONDS = 600
"""A node that crashed may be up again, or drained, some minutes after its job was queued again."""
FAILED = ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "REBOOT")
"""In the states of nodes that a job should not have been on."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that Slurm knows. id: `12`, or `12_3` in an array. reason: why it waits."""

    id: str
    state: str
    reason: str
    nodes: str
    left: str


def submit(script: Path, *options: str) -> str:
    """Hand a script to sbatch; the job's id. Raises UserError with Slurm's own words where it refuses.

    Variables SBATCH_… would beat the script's own lines: sbatch does not see them.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SBATCH_")}
    result = _run("sbatch", "--parsable", *options, str(script), environment=environment)
    if result.returncode == 0:
        return result.stdout.strip().partition(";")[0]
    words = " ".join(line.removeprefix("sbatch: error: ") for line in result.stderr.splitlines() if "error" in line)
    words = words.replace("Batch job submission failed: ", "") or result.stderr.strip()
    way_out = next((advice for part, advice in REFUSALS.items() if part in words.lower()), None)
    raise UserError(f"Slurm refuses the job: {words}", way_out=way_out)


def queue(jobs: Iterable[str]) -> list[QueuedJob]:
    """Those of these jobs that wait or run, an array's tasks each on its own."""
    wanted = ",".join(jobs)
    if not wanted:
        return []
    result = _run("squeue", "--noheader", "--array", "--jobs", wanted, "-o", "%i|%T|%r|%N|%L")
    if result.returncode != 0:
        if "Invalid job id" in result.stderr:  # it has forgotten them: all have ended
            return []
        raise ClapasError(f"squeue fails: {result.stderr.strip()}")
    return [QueuedJob(*(part.strip() for part in line.split("|"))) for line in result.stdout.splitlines() if line]


def cancel(jobs: Iterable[str]) -> None:
    """End jobs now; what waits is taken out of the queue."""
    if wanted := list(jobs):
        _run("scancel", *wanted)


def tell_to_stop(job: str) -> None:
    """Send USR1 to a running job's batch script, as Slurm does before the time limit."""
    _run("scancel", "--batch", "--signal=USR1", job)


def largest_array() -> int:
    """How many elements a job array may have, numbered from 0."""
    found = LARGEST_ARRAY.search(_run("scontrol", "show", "config").stdout)
    return int(found[1]) if found else DEFAULT_LARGEST_ARRAY


def failed_since(nodes: Iterable[str], began: float, ended: float | None = None) -> list[str]:
    """Those nodes that are down, drained or failing, or whose slurmd started after `began` (Unix time): they came back.

    ended: what befell a node long after it (Unix time) is left out, as far as Slurm says when. Those that Slurm does
    not know are left out. Raises ClapasError where it does not answer.
    """
    latest = float("inf") if ended is None else ended + AFTERMATH_SECONDS
    result = _run("scontrol", "--oneliner", "show", "node", ",".join(nodes))
    if "contact" in result.stderr:
        raise ClapasError(f"Slurm's controller does not answer: {result.stderr.strip()}")
    found = []
    for line in result.stdout.splitlines():
        facts, reason = _facts(line), REASON.search(line)
        state = facts.get("State", "")
        has_failed = any(word in state for word in FAILED) or state.endswith("*")
        since = _time(reason[1]) if reason else 0.0
        if (has_failed and since <= latest) or began < _time(facts.get("SlurmdStartTime")) <= latest:
            found.append(facts["NodeName"])
    return found


def requeued_at(job: str) -> float | None:
    """When a job was queued, the last time (Unix time); None where Slurm does not know it."""
    return _time(_facts(_run("scontrol", "--oneliner", "show", "job", job).stdout).get("SubmitTime")) or None


def host_names(node_list: str) -> list[str]:
    """The nodes of a Slurm node list, in its order."""
    return _run("scontrol", "show", "hostnames", node_list).stdout.split()


def _facts(line: str) -> dict[str, str]:
    """A line of `scontrol --oneliner`."""
    return {word.partition("=")[0]: word.partition("=")[2] for word in line.split()}


def _time(text: str | None) -> float:
    """Unix time of Slurm's local time; 0 where it has none."""
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return 0.0


def _run(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Raises UserError where there is no Slurm, ClapasError where it does not answer."""
    if shutil.which(command[0]) is None:
        raise UserError(
            "there is no Slurm on this machine",
            found=f"no {command[0]}",
            way_out="launch from a login node; --hosts FILE needs no Slurm; --dry-run prints the script",
        )
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise ClapasError(f"Slurm's controller does not answer: {command[0]} waited {SECONDS} s") from None
