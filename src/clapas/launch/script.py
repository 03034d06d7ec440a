"""The batch script of a job, from `slurm/job.sh.template`: short, commented, on every site the same but for data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from clapas.launch.job import CPU, Job, wall_text
from clapas.recipe.recipe import Recipe
from clapas.recipe.shipped import shipped_folder

MOST_THREADS = 8
"""CPU threads of a rank that computes on a GPU: more bring nothing there."""
COMMENT_COLUMN = 46
LAST_RESORT = """
  # Should that not be over in time, Slurm would end the job for good: rather begin again after the last checkpoint.
  (sleep {seconds}; [ -e "$launch/cancelled" ] || scontrol requeue "$SLURM_JOB_ID") &"""
"""In the script of a job that requeues itself, three quarters of the lead after it was told."""
SRUN_SECONDS = 60
"""How long srun may wait for tasks after the run has said how it ended; no longer than a rank may stall."""


def render(job: Job, recipe: Recipe, launch: Path, folder: Path, python: str, image: str | None) -> str:
    """The script. launch: the folder of this launch, absolute; folder: that which the recipe's paths start from.

    python: the interpreter that runs the ranks. image: the container that they run in.
    """
    template = (shipped_folder("slurm") / "job.sh.template").read_text(encoding="utf-8")
    many = f" ({job.points} runs)" if job.points > 1 else ""
    values = {
        "title": f"{recipe.name}{many} on {job.site.title}: {job.nodes} x {job.partition.gpus_per_node} ranks",
        "directives": "\n".join(_lined_up(directives(job, launch, folder))),
        "launch": shlex.quote(str(launch)),
        "python": shlex.quote(python),
        "recipes": _recipes(job),
        "site": "\n".join(_site(job)),
        "threads": _threads(job, recipe),
        "binding": "" if job.partition.hint else " --cpu-bind=cores",
        "last_resort": LAST_RESORT.format(seconds=job.lead_seconds - job.lead_seconds // 4)
        if _may_requeue(job)
        else "",
        "grace": f"{min(SRUN_SECONDS, recipe.faults.stall_seconds or SRUN_SECONDS):g}",
        "program": _program(job, image),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _may_requeue(job: Job) -> bool:
    """Whether nothing but the job itself goes on at its time limit."""
    return job.may_requeue and job.chain is None


def directives(job: Job, launch: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """(option, why) of each #SBATCH line."""
    partition, log = job.partition, "%A_%a" if job.points > 1 else "%j"
    yield f"--job-name={job.name}", ""
    if job.account:
        yield f"--account={job.account}", "who is charged"
    if partition.partition:
        yield f"--partition={partition.partition}", ""
    if partition.constraint:
        yield f"--constraint={partition.constraint}", "the kind of node"
    if job.qos:
        yield f"--qos={job.qos.name}", f"at most {job.qos.max_hours:g} hours"
    yield f"--nodes={job.nodes}", ""
    on_gpu = partition.device != CPU
    yield f"--ntasks-per-node={partition.gpus_per_node}", "one rank a GPU" if on_gpu else "ranks"
    if on_gpu:
        yield f"--gres=gpu:{partition.gpus_per_node}", "all of a node's"
    yield f"--cpus-per-task={partition.cores_per_gpu}", "cores of a rank"
    if partition.hint:
        yield f"--hint={partition.hint}", "binds each rank to cores of its own"
    if partition.threads_per_core:
        yield f"--threads-per-core={partition.threads_per_core}", ""
    if partition.exclusive:
        yield "--exclusive", "whole nodes"
    if job.wall_seconds is not None:
        yield f"--time={wall_text(job.wall_seconds)}", ""
    yield f"--signal=B:USR1@{job.lead_seconds}", "seconds before the end; may come 60 s earlier"
    if job.chain is not None:
        yield "--dependency=singleton", "one job of this name at a time"
    if job.points > 1:
        yield f"--array=0-{job.points - 1}", "one run each"
    yield "--requeue" if job.may_requeue else "--no-requeue", "after a node has failed" if job.may_requeue else ""
    yield f"--chdir={folder}", ""
    yield "--open-mode=append", "a requeued job goes on in the same log"
    yield f"--output={launch}/job-{log}.log", ""


def _lined_up(options: Iterator[tuple[str, str]]) -> Iterator[str]:
    for option, why in options:
        line = f"#SBATCH {option}"
        yield f"{line:{COMMENT_COLUMN}} # {why}" if why else line


def _recipes(job: Job) -> str:
    if job.points == 1:
        return "recipe=$launch/recipe.yaml"
    return "recipe=$launch/recipe-$SLURM_ARRAY_TASK_ID.yaml # one of the sweep's"


def _site(job: Job) -> Iterator[str]:
    """Modules and environment."""
    environment = job.site.environment
    if job.partition.modules:
        yield "module purge"
        yield f"module load {' '.join(job.partition.modules)}"
    if not environment.internet and environment.offline:
        yield "# Compute nodes have no internet: nothing may reach for it."
        yield from _exports(environment.offline)
    collectives = dict(environment.collectives)
    if environment.network_interface:
        collectives.setdefault("NCCL_SOCKET_IFNAME", environment.network_interface)
        collectives["GLOO_SOCKET_IFNAME"] = environment.network_interface
    if collectives:
        yield "# The network between the nodes."
        yield from _exports(collectives)
    if job.site.group_writable:
        yield "umask 0002 # the run's folder is the whole group's"


def _exports(variables: dict[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}"


def _threads(job: Job, recipe: Recipe) -> str:
    """CPU threads of a rank."""
    if recipe.train.threads is not None:
        return str(recipe.train.threads)
    cores = job.partition.cores_per_gpu
    return str(cores if job.partition.device == CPU else min(cores, MOST_THREADS))


def _program(job: Job, image: str | None) -> str:
    """Clapas as a rank starts it: with the interpreter of the launch, or with the container's."""
    if image is None:
        return '"$python" -m clapas'
    command = job.site.container.command if job.site.container else "apptainer exec"
    return f"{command} {shlex.quote(image)} python3 -m clapas"
