"""What a job asks of Slurm: derived from a recipe, a site and what the user chose, and checked before it is submitted.

A machine refuses a job in its own words, sometimes only after a night in the queue. What the site's file knows is said
here, in one message.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clapas.plan import plan
from clapas.plan.hardware import read_hardware
from clapas.plan.site import Account, Partition, Qos, Site
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe

HOUR = 3600
WALL = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")
CHARACTERS = re.compile(r"\[[^]]*\]\+")
"""In the pattern of an account: a name."""
LESS_TIME = "less time (--chain N goes on where a job ends)"
WITHOUT_QOS = "leave --qos out: the first that takes the job is chosen"
CPU = "CPU"
"""What the hardware sheet calls a node without accelerators."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line said. None: what the site's file says first.

    partition: the site's name for a kind of node. wall: as Slurm writes it, `20:00:00`. chain: jobs, one after another.
    retries: failures after which nothing is tried any more. image: the container that the ranks run in.
    """

    nodes: int
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    wall: str | None = None
    chain: int | None = None
    retries: int = 5
    image: str | None = None
    accept_unverified: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What is submitted. wall_seconds: None where neither user nor site says one: Slurm's own default.

    lead_seconds: how long before the wall the ranks are told. points: runs of a sweep; 1: no sweep.
    image: the container that the ranks run in, or None.
    """

    name: str
    site: Site
    kind: str
    partition: Partition
    account: str | None
    qos: Qos | None
    nodes: int
    wall_seconds: int | None
    lead_seconds: int
    chain: int | None
    retries: int
    points: int = 1
    image: str | None = None

    @property
    def ranks(self) -> int:
        """Of one run."""
        return self.nodes * self.partition.gpus_per_node

    @property
    def may_requeue(self) -> bool:
        """Whether the job may requeue itself."""
        return self.site.requeue

    @property
    def doubtful(self) -> list[str]:
        """Facts of the site that it stands on, and that nobody has read at the site's own pages."""
        return doubtful_facts(self.site, self.kind, self.qos, self.image is not None)


def kind_of(site: Site, choices: Choices) -> str:
    """The name of the site's partition that is meant."""
    site.partition(choices.partition)  # raises where there is none
    return choices.partition or site.default_partition or next(iter(site.partitions))


def doubtful_facts(site: Site, kind: str, qos: Qos | None, in_container: bool = False) -> list[str]:
    """Those of a site's unverified groups of facts that a job on this kind of node stands on."""
    matter = {"account", f"partitions.{kind}", "environment"}
    if qos is not None:
        matter.add(f"partitions.{kind}.qos.{site.partitions[kind].qos.index(qos)}")
    found = [key for key in site.unverified() if key in matter]
    if in_container and (site.container is None or not site.container.verified):
        found.append("container")
    return found


def check_facts(job: Job, accepted: bool) -> Job:
    """The job; raises UserError where it would stand on facts of the site that nobody has read at its own pages."""
    if job.doubtful and not accepted:
        raise UserError(
            f"facts about {job.site.title} that this job stands on are not verified",
            where=job.site.place("name"),
            found=", ".join(job.doubtful),
            wanted="`verified:` with the day and the page on which somebody read them",
            way_out="read the job with --dry-run; then --accept-unverified, or a copy of the file with verified facts",
        )
    return job


def check_precision(recipe: Recipe, partition: Partition) -> None:
    """Raise UserError where the accelerator does not have the recipe's precision. One that is unknown may have it."""
    device = next((known for known in read_hardware() if known.name == partition.device), None)
    if device is not None and device.name != CPU:
        plan.check_precision(recipe, device)


def account_of(site: Site, partition: Partition, given: str | None) -> str | None:
    """Who is charged. Raises UserError where the site wants an account, or one of another form."""
    facts: Account = site.account
    pattern = partition.account or facts.pattern
    if pattern is None or (given and re.fullmatch(pattern, given)):
        return given
    example = facts.example
    if example and not re.fullmatch(pattern, example):  # that of another kind of node
        example = CHARACTERS.sub("xxx", pattern)
        example = example if re.fullmatch(pattern, example) else None
    raise UserError(
        f"{site.title} wants an account for each job" if given is None else "no account of this site has that form",
        where="--account",
        found=given,
        wanted=f"{pattern}, such as {example}" if example else pattern,
        way_out=None if given else "--account, or `export SBATCH_ACCOUNT=…`",
    )


def wall_seconds(text: str) -> int:
    """A wall time as Slurm writes it, `20:00:00` or `4-04:00:00`. Raises UserError."""
    match = WALL.fullmatch(text)
    if match is None:
        raise UserError("not a wall time", where="--time", found=text, wanted="HH:MM:SS or D-HH:MM:SS, as 20:00:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise UserError("no time at all", where="--time", found=text, wanted="more: to Slurm 0 is no limit")
    return total


def wall_text(seconds: int) -> str:
    """The opposite: hours, minutes, seconds."""
    return f"{seconds // HOUR:02d}:{seconds % HOUR // 60:02d}:{seconds % 60:02d}"


def fitting_qos(site: Site, kind: str, choices: Choices) -> tuple[Qos | None, int | None]:
    """The QoS, and the wall time in seconds. Raises UserError where no QoS, or not the chosen one, takes the job."""
    partition = site.partitions[kind]
    wall = None if choices.wall is None else wall_seconds(choices.wall)
    if not partition.qos:
        if choices.qos is not None:
            raise UserError("this kind of node has no QoS", where="--qos", found=choices.qos, way_out="leave --qos out")
        limit = None if partition.max_hours is None else int(partition.max_hours * HOUR)
        if limit is not None and wall is not None and wall > limit:
            raise _too_much(site, kind, [f"--time {wall_text(wall)} is over {wall_text(limit)}"])
        return None, wall or limit
    candidates = [qos for qos in partition.qos if choices.qos in (None, qos.name)]
    if not candidates:
        known = ", ".join(qos.name for qos in partition.qos)
        what = f"{site.title} has no such QoS for {kind}"
        raise UserError(what, where="--qos", found=choices.qos, wanted=known, way_out=WITHOUT_QOS)
    refusals = []
    for qos in candidates:
        problems = list(over(qos, choices.nodes, choices.nodes * partition.gpus_per_node, wall))
        if not problems:
            return qos, wall or int(qos.max_hours * HOUR)
        refusals.append(f"{qos.name}: {' and '.join(problems)}")
    raise _too_much(site, kind, refusals)


def over(qos: Qos, nodes: int, gpus: int, wall: int | None) -> Iterator[str]:
    """What of a job a QoS does not take."""
    limit = int(qos.max_hours * HOUR)
    if wall is not None and wall > limit:
        yield f"--time {wall_text(wall)} is over {wall_text(limit)}"
    if qos.max_gpus is not None and gpus > qos.max_gpus:
        yield f"{gpus} GPUs are over {qos.max_gpus}"
    if qos.max_nodes is not None and nodes > qos.max_nodes:
        yield f"{nodes} nodes are over {qos.max_nodes}"


def _too_much(site: Site, kind: str, refusals: list[str]) -> UserError:
    what = f"{site.title} does not take this job on {kind}: {'; '.join(refusals)}"
    less = [LESS_TIME] * any("--time" in text for text in refusals)
    less += ["fewer --nodes"] * any("GPUs are" in text or "nodes are" in text for text in refusals)
    return UserError(what, way_out=", or ".join(less))


def job_name(recipe: Recipe) -> str:
    """The same for all jobs of a run's folder and no other: what `singleton` goes by."""
    return f"{recipe.name}-{hashlib.sha256(str(Path(recipe.folder).resolve()).encode()).hexdigest()[:6]}"


def derive_job(recipe: Recipe, site: Site, choices: Choices, lead: int, points: int = 1) -> Job:
    """The job. lead: seconds before the wall at which ranks want to know. Raises UserError on what the site refuses."""
    kind = kind_of(site, choices)
    partition = site.partitions[kind]
    check_precision(recipe, partition)
    account = account_of(site, partition, choices.account)
    qos, wall = fitting_qos(site, kind, choices)
    if points > 1 and choices.chain is not None:
        raise UserError("a sweep cannot be a chain", where="--chain", way_out="leave one of the two out")
    if wall is not None:
        lead = min(lead, wall // 2)
    job = Job(
        name=job_name(recipe), site=site, kind=kind, partition=partition, account=account, qos=qos,
        nodes=choices.nodes, wall_seconds=wall, lead_seconds=lead, chain=choices.chain, retries=choices.retries,
        points=points, image=choices.image,
    )  # fmt: skip
    return check_facts(job, choices.accept_unverified)
