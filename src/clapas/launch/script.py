"""The batch script of a job, from `slurm/job.sh.template`: short, commented, on every site the same but for data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from clapas.launch.job import CPU, Job, wall_text
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.recipe.shipped import shipped_folder

MOST_THREADS = 8
"""CPU threads of a rank that computes on a GPU: more bring nothing there."""
COMMENT_COLUMN = 46
PLAIN = re.compile(r"[\w./%=@:+,-]+")
"""A path that needs no quotes in a directive."""
UNQUOTABLE = re.compile(r"[\"\\\n\r]")
"""A backslash would also end the replacement of %j in the name of the log."""
LAST_RESORT = """
  # Should that not be over in time, Slurm would end the job for good: rather begin again after the last checkpoint.
  (sleep {seconds}; [ -e "$launch/cancelled" ] || until scontrol requeue "$job"; do sleep 10; done) &"""
"""In the script of a job that requeues itself, three quarters of the lead after it was told."""
SRUN_SECONDS = 60
"""How long srun may wait for tasks after the run has said how it ended; no longer than a rank may stall."""


def render(job: Job, recipe: Recipe, launch: Path, folder: Path, python: str) -> str:
    """The script. launch: the folder of this launch, absolute; folder: that which the recipe's paths start from.

    python: the interpreter that runs the ranks.
    """
    template = (shipped_folder("slurm") / "job.sh.template").read_text(encoding="utf-8")
    many = f" ({job.points} runs)" if job.points > 1 else ""
    values = {
        "title": f"{recipe.name}{many} on {job.site.title}: {job.nodes} x {job.partition.gpus_per_node} ranks",
        "doubtful": "".join(_doubtful(job)),
        "directives": "\n".join(lined_up(directives(job, launch, folder))),
        "launch": shlex.quote(str(launch)),
        "python": shlex.quote(python),
        "recipes": _recipes(job),
        "job": _own_number(job),
        "site": "\n".join(site_lines(job)),
        "threads": _threads(job, recipe),
        "binding": "" if job.partition.hint else " --cpu-bind=cores",
        "last_resort": LAST_RESORT.format(seconds=job.lead_seconds - job.lead_seconds // 4)
        if _may_requeue(job)
        else "",
        "grace": f"{min(SRUN_SECONDS, recipe.faults.stall_seconds or SRUN_SECONDS):g}",
        "program": _program(job),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _may_requeue(job: Job) -> bool:
    """Whether nothing but the job itself goes on at its time limit."""
    return job.may_requeue and job.chain is None


def queue_directives(job: Job, name: str) -> Iterator[tuple[str, str]]:
    """(option, why): under which name, for whom and where a job waits."""
    partition = job.partition
    yield f"--job-name={name}", ""
    if job.account:
        yield f"--account={job.account}", "who is charged"
    if partition.partition:
        yield f"--partition={partition.partition}", ""
    if partition.constraint:
        yield f"--constraint={partition.constraint}", "the kind of node"
    if job.qos:
        yield f"--qos={job.qos.name}", f"at most {job.qos.max_hours:g} hours"


def node_directives(job: Job, why_hint: str) -> Iterator[tuple[str, str]]:
    """(option, why): how a node's cores are shared out, and for how long."""
    partition = job.partition
    if partition.hint:
        yield f"--hint={partition.hint}", why_hint
    if partition.threads_per_core:
        yield f"--threads-per-core={partition.threads_per_core}", ""
    if partition.exclusive:
        yield "--exclusive", "whole nodes"
    if job.wall_seconds is not None:
        yield f"--time={wall_text(job.wall_seconds)}", ""


def directives(job: Job, launch: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """(option, why) of each #SBATCH line."""
    partition, log = job.partition, "%A_%a" if job.points > 1 else "%j"
    yield from queue_directives(job, job.name)
    yield f"--nodes={job.nodes}", ""
    on_gpu = partition.device != CPU
    yield f"--ntasks-per-node={partition.gpus_per_node}", "one rank a GPU" if on_gpu else "ranks"
    if on_gpu:
        yield f"--gres=gpu:{partition.gpus_per_node}", "all of a node's"
    yield f"--cpus-per-task={partition.cores_per_gpu}", "cores of a rank"
    yield from node_directives(job, "binds each rank to cores of its own")
    yield f"--signal=B:USR1@{job.lead_seconds}", "seconds before the end; may come 60 s earlier"
    if job.chain is not None:
        yield "--dependency=singleton", "one job of this name at a time"
    if job.points > 1:
        yield f"--array=0-{job.points - 1}", "one run each"
    yield "--requeue" if job.may_requeue else "--no-requeue", "after a node has failed" if job.may_requeue else ""
    yield f"--chdir={quoted(str(folder))}", ""
    yield "--open-mode=append", "a requeued job goes on in the same log"
    yield f"--output={quoted(f'{launch}/'.replace('%', '%%') + f'job-{log}.log')}", ""


def quoted(path: str) -> str:
    """A path as sbatch reads it in a directive. Raises UserError where no quotes would help."""
    if bad := UNQUOTABLE.search(path):
        wanted = "a folder without double quotes, backslashes and line ends in its name"
        raise UserError("sbatch cannot take this folder", where=path, found=repr(bad[0]), wanted=wanted)
    return path if PLAIN.fullmatch(path) else f'"{path}"'


def lined_up(options: Iterator[tuple[str, str]]) -> Iterator[str]:
    for option, why in options:
        line = f"#SBATCH {option}"
        yield f"{line:{COMMENT_COLUMN}} # {why}" if why else line


def _doubtful(job: Job) -> Iterator[str]:
    """Comments that name the facts of the site's file which nobody has verified."""
    if job.doubtful:
        yield f"#\n# Facts of {job.site.name}.yaml that nobody has read at the site's own pages:\n"
        yield from (f"#   {fact}\n" for fact in job.doubtful)


def _recipes(job: Job) -> str:
    if job.points == 1:
        return "recipe=$launch/recipe.yaml"
    return "recipe=$launch/recipe-$SLURM_ARRAY_TASK_ID.yaml # one of the sweep's"


def _own_number(job: Job) -> str:
    """The job as Slurm's commands name it. One task of an array has the array's own number: alone it means them all."""
    if job.points == 1:
        return "job=$SLURM_JOB_ID"
    return "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID # this task alone"


def site_lines(job: Job) -> Iterator[str]:
    """Modules and environment, as the site asks for them."""
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
    if job.partition.device != CPU:
        work = job.site.directories.work
        cache = f"${{{work.variable}:-$HOME}}/.cache/clapas" if work else "$HOME/.cache/clapas"
        yield "# Compiled kernels are kept for all ranks and the next job."
        yield f'export TRITON_CACHE_DIR="{cache}/triton"'
        yield f'export TORCHINDUCTOR_CACHE_DIR="{cache}/inductor"'
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


def _program(job: Job) -> str:
    """Clapas as a rank starts it: with the interpreter of the launch, or with the container's."""
    if job.image is None:
        return '"$python" -m clapas'
    command = job.site.container.command if job.site.container else "apptainer exec"
    return f"{command} {shlex.quote(job.image)} python3 -m clapas"
