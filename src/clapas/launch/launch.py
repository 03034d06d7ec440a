"""`clapas launch`: from a recipe and a site to a job in the queue, with all that it was made from beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from clapas.engine.deepspeed_config import deepspeed_config
from clapas.launch import slurm
from clapas.launch.job import Choices, Job, check_precision, derive_job
from clapas.launch.lead import lead_seconds
from clapas.launch.records import Launch, launches, next_folder
from clapas.launch.script import render
from clapas.launch.secrets import hide
from clapas.launch.snapshot import code_version
from clapas.plan.site import Site, read_site
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.locks import take_lock
from clapas.recipe.recipe import Recipe
from clapas.train.other_run import refuse_other_run
from clapas.train.preflight import preflight


def derive(recipes: Sequence[Recipe], site: Site, choices: Choices) -> Job:
    """The job that trains these recipes (several: a sweep). Raises UserError on what site or DeepSpeed refuse."""
    lead = max(lead_seconds(recipe.folder) for recipe in recipes)
    job = derive_job(recipes[0], site, choices, lead, points=len(recipes))
    for recipe in recipes:
        check_precision(recipe, job.partition)
        deepspeed_config(recipe, job.ranks)
    return job


def dry_run(recipes: Sequence[Recipe], site_name: str, choices: Choices, home: Path) -> str:
    """The batch script. Nothing is written, and the data are not looked at. home: the folder of the run."""
    job = derive(recipes, read_site(site_name), choices)
    return render(job, recipes[0], next_folder(home), Path.cwd(), sys.executable)


def launch(recipes: Sequence[Recipe], site_name: str, choices: Choices, home: Path) -> list[str]:
    """Submit, and return the jobs' ids. home: the folder of the run; of a sweep, the one around its runs.

    Raises UserError where recipe, data, site or Slurm refuse; then nothing is left in the queue.
    """
    site = read_site(site_name)
    job = derive(recipes, site, choices)
    for recipe in recipes:
        refuse_other_run(recipe, preflight(recipe, job.ranks))
    with _alone(home):
        _refuse_second(home)
        made = Launch(next_folder(home))
        jobs: list[str] = []
        try:
            keep_what_runs(made.folder, recipes)
            script = render(job, recipes[0], made.folder, Path.cwd(), sys.executable)
            atomic_write(made.folder / "job.sh", script)
            (made.folder / "job.sh").chmod(0o755)
            made.write_facts(_facts(job, choices, jobs))  # before a job can begin, which reads it
            while len(jobs) < (job.chain or 1):
                jobs.append(slurm.submit(made.folder / "job.sh"))
                made.write_facts(_facts(job, choices, jobs))
        except BaseException:  # Ctrl-C, too, leaves nothing in the queue
            made.mark_cancelled()
            slurm.cancel(jobs)
            shutil.rmtree(made.folder)
            raise
    return jobs


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """While no other process launches this run. RUN/launch is gone afterwards where nothing was submitted, ever.

    Raises UserError where one does.
    """
    folder = home / "launch"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = take_lock(folder / ".lock", wait=False)
    except BlockingIOError:
        way_out = f"wait for it, then look: `clapas status {home}`"
        raise UserError("this run is being launched by another command", where=home, way_out=way_out) from None
    try:
        yield
    finally:
        if {path.name for path in folder.iterdir()} == {".lock"}:
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # not empty: a run that was trained without `launch`
                home.rmdir()
        os.close(handle)


def _refuse_second(home: Path) -> None:
    """Raise UserError where a job of this run still waits or runs: two cannot train in one folder."""
    for before in launches(home):
        if waiting := slurm.queue(before.jobs):
            raise UserError(
                "this run is launched already",
                where=home,
                found=", ".join(f"job {job.id} ({job.state})" for job in waiting),
                way_out=f"`clapas cancel {home}`, or another folder: run_dir=…",
            )


def keep_what_runs(folder: Path, recipes: Sequence[Recipe]) -> None:
    """Make a launch's folder, with the recipes as resolved and the version of the code."""
    folder.mkdir(parents=True)
    code = code_version()
    names = ["recipe.yaml"] if len(recipes) == 1 else [f"recipe-{number}.yaml" for number in range(len(recipes))]
    for name, recipe in zip(names, recipes, strict=True):
        atomic_write(folder / name, recipe.to_yaml())
    atomic_write(folder / "code.json", orjson.dumps(code.facts(), option=orjson.OPT_INDENT_2))
    if code.diff:
        atomic_write(folder / "code.diff", code.diff)


def _facts(job: Job, choices: Choices, jobs: list[str]) -> dict[str, Any]:
    """`launch.json`."""
    return {
        "jobs": jobs,
        "name": job.name,
        "site": job.site.name,
        "partition": job.kind,
        "nodes": job.nodes,
        "ranks": job.ranks,
        "points": job.points,
        "wall_seconds": job.wall_seconds,
        "lead_seconds": job.lead_seconds,
        "chain": job.chain,
        "retries": job.retries,
        "requeue": job.may_requeue,
        "choices": asdict(choices),
        "command": [hide(word) for word in sys.argv[1:]],
        "folder": str(Path.cwd()),
        "time": round(time.time(), 3),
    }
