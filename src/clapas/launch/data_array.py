"""`clapas data build --slurm SITE`: the stages of a build as job arrays, each of which waits for the one before.

The submitting process, on a login node, fetches and lists the sources; compute nodes need no internet. Each element of
an array does its share of a stage's tasks, and what is done is not done again: a build that an element's failure has
stopped goes on when it is submitted once more. Nothing runs between the arrays but Slurm.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from clapas.launch import slurm
from clapas.launch.job import Choices, Job, account_of, check_facts, fitting_qos
from clapas.launch.records import Launch, launches, next_folder
from clapas.launch.script import lined_up, node_directives, queue_directives, quoted, site_lines
from clapas.plan.site import Site, read_site
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas_data.build import build_stages, ordered, plan_build
from clapas_data.corpus import Corpus, read_corpus
from clapas_data.stages import OneTask, Stage
from clapas_data.work import Work
from clapas_data.write import BuildFolder

NOWHERE = Path("(to be planned)")
"""The work folder of a build of which only the scripts are wanted."""


@dataclass(frozen=True, slots=True)
class ArrayJob:
    """One job: the stages that it does, and in how many elements. Several stages: of one task each, in their order."""

    stages: tuple[str, ...]
    elements: int

    @property
    def name(self) -> str:
        """Of its script and logs: its first stage's."""
        return self.stages[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be built: as for `clapas_data.build.build`. tasks: elements of an array, at most."""

    corpus: str | Path
    out: Path
    tokenizer: Path | None
    overrides: Sequence[str]
    tasks: int


def submit_build(wanted: Wanted, site: str, choices: Choices) -> list[str]:
    """Submit a build and return its jobs' ids, none where it is built.

    Raises UserError where corpus, site or Slurm refuse; then nothing is left in the queue.
    """
    job = _derive(read_site(site), read_corpus(wanted.corpus, wanted.overrides), choices)
    elements = min(wanted.tasks, slurm.largest_array())
    with ordered(wanted.corpus, wanted.out, wanted.tokenizer, wanted.overrides) as order:
        _refuse_second(wanted.out)
        folder = plan_build(order)
        if folder is None:
            return []
        arrays = list(_arrays(build_stages(folder, order.corpus), min(elements, _parts(folder))))
        return _submit(job, arrays, wanted.out.absolute())


def dry_run(wanted: Wanted, site: str, choices: Choices) -> str:
    """The scripts, one after another. Nothing is fetched, written or submitted."""
    corpus, out = read_corpus(wanted.corpus, wanted.overrides), wanted.out
    job = _derive(read_site(site), corpus, choices)
    stages = build_stages(BuildFolder(out, Work(NOWHERE)), corpus)
    arrays = list(_grouped((stage, 1 if isinstance(stage, OneTask) else wanted.tasks) for stage in stages))
    return "\n".join(render(job, array, out.absolute(), next_folder(out)) for array in arrays)


def _derive(site: Site, corpus: Corpus, choices: Choices) -> Job:
    """A job on one node of the site's kind for data. Raises UserError for what the site refuses."""
    _refuse_streams(site, corpus)
    kind = choices.partition or site.data_partition or site.default_partition
    partition = site.partition(kind)
    kind = kind or next(iter(site.partitions))
    account = account_of(site, partition, choices.account)
    qos, wall = fitting_qos(site, kind, choices)
    job = Job(
        name=f"data-{corpus.name}", site=site, kind=kind, partition=partition, account=account, qos=qos,
        nodes=1, wall_seconds=wall, lead_seconds=0, chain=None, retries=0,
    )  # fmt: skip
    return check_facts(job, choices.accept_unverified)


def _refuse_streams(site: Site, corpus: Corpus) -> None:
    """Raise UserError where elements would read over a network that compute nodes do not have."""
    sources = corpus.sources.items()
    streamed = [name for name, source in sources if source.streaming and not Path(source.datasets or "").exists()]
    if streamed and not site.environment.internet:
        keys = [f"sources.{name}.streaming" for name in streamed]
        raise UserError(
            f"read over the network as the build goes, and compute nodes of {site.title} have no internet",
            where=keys[0],
            found=", ".join(streamed),
            way_out=f"fetch them first, from here: {' '.join(f'{key}=false' for key in keys)}; "
            "or build without --slurm on a node that has internet",
        )


def _parts(folder: BuildFolder) -> int:
    """No stage has a use for many more elements than the sources have parts."""
    return max(1, len(folder.work.chunks))


def _arrays(stages: Sequence[Stage], most: int) -> Iterator[ArrayJob]:
    """The jobs that are left to do. most: elements of a stage whose tasks are not known yet."""
    left: list[tuple[Stage, int]] = []
    for stage in stages:
        if left:  # its tasks are known when those before it are done
            left.append((stage, 1 if isinstance(stage, OneTask) else most))
        elif missing := len(stage.missing()):
            left.append((stage, min(missing, most)))
    return _grouped(left)


def _grouped(stages: Sequence[tuple[Stage, int]] | Iterator[tuple[Stage, int]]) -> Iterator[ArrayJob]:
    """Stages with their elements as jobs: those of one task that follow each other are one job."""
    for single, group in groupby(stages, lambda pair: isinstance(pair[0], OneTask)):
        if single:
            yield ArrayJob(tuple(stage.name for stage, _ in group), 1)
        else:
            yield from (ArrayJob((stage.name,), elements) for stage, elements in group)


def _submit(job: Job, arrays: Sequence[ArrayJob], out: Path) -> list[str]:
    made = Launch(next_folder(out))
    made.folder.mkdir(parents=True)
    jobs: list[str] = []
    try:
        for array in arrays:
            script = made.folder / f"{array.name}.sh"
            atomic_write(script, render(job, array, out, made.folder))
            script.chmod(0o755)
            after = [f"--dependency=afterok:{jobs[-1]}"] if jobs else []
            jobs.append(slurm.submit(script, *after))
            made.write_facts(_facts(job, arrays, jobs))
    except BaseException:  # Ctrl-C, too, leaves nothing in the queue
        slurm.cancel(jobs)
        shutil.rmtree(made.folder)
        raise
    return jobs


def _facts(job: Job, arrays: Sequence[ArrayJob], jobs: list[str]) -> dict[str, Any]:
    """`launch.json`."""
    stages = [
        {"job": number, "stages": array.stages, "elements": array.elements}
        for number, array in zip(jobs, arrays, strict=False)
    ]
    return {"jobs": jobs, "name": job.name, "site": job.site.name, "partition": job.kind, "arrays": stages}


def _refuse_second(out: Path) -> None:
    """Raise UserError where a job of this build still waits or runs."""
    for before in launches(out):
        if waiting := slurm.queue(before.jobs):
            found = ", ".join(f"job {job.id} ({job.state})" for job in waiting[:5])
            way_out = f"`clapas data status {out}`; `clapas cancel {out}` ends it"
            raise UserError("this build is in the queue already", where=out, found=found, way_out=way_out)


def render(job: Job, array: ArrayJob, out: Path, launch: Path) -> str:
    """The batch script of an array."""
    workers = job.partition.gpus_per_node if job.partition.exclusive else 1
    words = (
        sys.executable, "-m", "clapas_data.element", "--out", str(out), "--stages", ",".join(array.stages),
        "--elements", str(array.elements), "--workers", str(workers),
    )  # fmt: skip
    doubtful = [f"# Not verified at the site's own pages: {', '.join(job.doubtful)}"] if job.doubtful else []
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            f"# {job.name} on {job.site.title}: {', then '.join(array.stages)}",
            "#",
            "# Written by `clapas data build --slurm`. It may be submitted again: what is done is not done again.",
            *doubtful,
            *lined_up(_directives(job, array, launch, workers)),
            "",
            *site_lines(job),
            "export OMP_NUM_THREADS=1 # a process a core",
            f"exec {shlex.join(words)}",
            "",
        ]
    )


def _directives(job: Job, array: ArrayJob, launch: Path, workers: int) -> Iterator[tuple[str, str]]:
    """(option, why) of each #SBATCH line."""
    partition = job.partition
    yield from queue_directives(job, f"{job.name}-{array.name}")
    yield f"--array=0-{array.elements - 1}", "each does every so-many-th task"
    yield "--nodes=1", ""
    yield "--ntasks=1", ""
    cores = partition.cores_per_gpu * workers
    yield f"--cpus-per-task={cores}", "one process" if workers == 1 else f"{workers} processes, a whole node"
    yield from node_directives(job, "")
    yield "--requeue", "after preemption, or where its node failed"
    yield "--kill-on-invalid-dep=yes", "what waits for a stage that failed does not wait for ever"
    yield "--open-mode=append", ""
    yield f"--output={quoted(f'{launch}/'.replace('%', '%%') + f'job-{array.name}-%a.log')}", "one an element"
