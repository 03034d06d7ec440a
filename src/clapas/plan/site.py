"""A site: where runs may be sent, as data. `slurm/sites/NAME.yaml`, or a file of the team's own.

No code knows a site by name. Every group of facts says where it was read (`source`), and `verified` is the day and the
page on which somebody of this project read it, or false: what is hearsay stays visible as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt, StringConstraints, model_validator

from clapas.recipe.errors import UserError
from clapas.recipe.shipped import find_shipped
from clapas.recipe.typed import Section, TypedFile, read_typed

ReadOn = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}: \S")]


class Fact(Section):
    """A group of facts, and what stands behind it.

    source: where the facts come from. verified: "YYYY-MM-DD: the page that was read", or false where nobody could.
    """

    source: str
    verified: Literal[False] | ReadOn = False


class Account(Fact):
    """Who is charged.

    pattern: a regular expression that a job's account matches as a whole; None where none is asked for.
    example: such an account, for messages.
    """

    pattern: str | None = None
    example: str | None = None


class Qos(Fact):
    """A quality of service: what a job under it may ask for. None: no limit known.

    max_gpus, max_nodes: of one job.
    """

    name: str
    max_hours: PositiveFloat
    max_gpus: PositiveInt | None = None
    max_nodes: PositiveInt | None = None


class Partition(Fact):
    """One kind of node.

    device: its accelerator's name in slurm/hardware.yaml. gpus_per_node: ranks of a node: accelerators as a process
    sees them (an MI250X is two), or processes where there are none.
    partition, constraint: for sbatch, where the site uses them. account: its own pattern, where it has one.
    cores_per_gpu: physical cores of one rank. hint, threads_per_core: for sbatch, where the site asks for them.
    exclusive: whether jobs take whole nodes. modules: loaded in this order. default_minutes: wall time of a job that
    says none. max_hours: where no QoS says it. network_gbit_per_node: all of a node's links to others together.
    """

    device: str
    partition: str | None = None
    constraint: str | None = None
    account: str | None = None
    gpus_per_node: PositiveInt
    cores_per_gpu: PositiveInt
    memory_gb_per_node: PositiveFloat | None = None
    hint: str | None = None
    threads_per_core: PositiveInt | None = None
    exclusive: bool = False
    modules: tuple[str, ...] = ()
    qos: tuple[Qos, ...] = ()
    default_minutes: PositiveInt | None = None
    max_hours: PositiveFloat | None = None
    network_gbit_per_node: PositiveFloat | None = None


class Directory(Fact):
    """A file system, by the environment variable that names it.

    purge_days: age in days at which unread files are deleted; None: never. terabytes, inodes: a project's quota.
    """

    variable: str
    purge_days: PositiveInt | None = None
    terabytes: PositiveFloat | None = None
    inodes: PositiveInt | None = None


class Directories(Section):
    """Where runs (scratch), code and data (work) and what is to be kept (store) live; datasets: shared, read-only."""

    scratch: Directory | None = None
    work: Directory | None = None
    store: Directory | None = None
    datasets: Directory | None = None


class Container(Fact):
    """How a container is started.

    command: what stands before the program. allowed_dir_variable: names the only folder from which images may run.
    """

    command: str
    allowed_dir_variable: str | None = None


class Environment(Fact):
    """Environment variables of a job, and what the network is.

    offline: keep libraries from reaching for the internet. collectives: NCCL's or RCCL's.
    network_interface: for gloo's and NCCL's sockets. internet: whether compute nodes have it.
    """

    offline: dict[str, str] = Field(default_factory=dict)
    collectives: dict[str, str] = Field(default_factory=dict)
    network_interface: str | None = None
    internet: bool = False


class Energy(Fact):
    """What a kilowatt-hour emits, and what the building takes beside the machine.

    grid_gco2e_per_kwh: grams of CO2 equivalent. pue: all energy over the computers' own.
    """

    grid_gco2e_per_kwh: NonNegativeFloat
    pue: Annotated[float, Field(ge=1)]


class Site(TypedFile):
    """A machine that takes jobs.

    name: as in `--site`. title: as people say it. default_partition: the one meant where none is named;
    data_partition: where data are built, best one without accelerators.
    group_writable: whether a run's folder is for the whole group. requeue: whether jobs may requeue themselves.
    """

    name: str
    title: str
    account: Account
    partitions: dict[str, Partition]
    default_partition: str | None = None
    data_partition: str | None = None
    directories: Directories = Directories()
    container: Container | None = None
    environment: Environment
    energy: Energy
    group_writable: bool = False
    requeue: bool = True

    @model_validator(mode="after")
    def _defaults_exist(self) -> Site:
        for key in ("default_partition", "data_partition"):
            name = getattr(self, key)
            if name is not None and name not in self.partitions:
                known = ", ".join(self.partitions) or "none"
                raise ValueError(f"{key}: found {name!r}; the site's partitions are: {known}")
        return self

    def partition(self, name: str | None = None) -> Partition:
        """The partition of that name, or the site's default. Raises UserError."""
        if not self.partitions:
            raise UserError(
                f"site {self.name} is a template: it has no partition yet",
                where=self.place("partitions"),
                wanted="device, gpus_per_node and cores_per_gpu of at least one kind of node",
                way_out="copy the file, fill in `partitions`, and name the copy: --site my-site.yaml",
            )
        chosen = name or self.default_partition or next(iter(self.partitions))
        if chosen not in self.partitions:
            raise UserError(
                f"site {self.name} has no partition of that name",
                where="--partition",
                found=chosen,
                wanted=f"one of: {', '.join(self.partitions)}",
            )
        return self.partitions[chosen]

    def unverified(self) -> list[str]:
        """Dotted keys of the groups of facts that nobody has read at the site's own pages."""
        return [key for key, fact in _facts(self, "") if not fact.verified]


def _facts(part: object, key: str) -> Iterator[tuple[str, Fact]]:
    """Every group of facts below a part, with its dotted key."""
    if isinstance(part, Fact):
        yield key, part
    inner: Iterator[tuple[str, object]] = iter(())
    if isinstance(part, BaseModel):
        inner = ((name, getattr(part, name)) for name in type(part).model_fields)
    elif isinstance(part, dict):
        inner = ((str(name), value) for name, value in part.items())
    elif isinstance(part, tuple):
        inner = ((str(number), value) for number, value in enumerate(part))
    for name, value in inner:
        yield from _facts(value, f"{key}.{name}" if key else name)


def read_site(name_or_path: str | Path) -> Site:
    """A site's file, or the shipped one of that name. Raises UserError."""
    return read_typed(find_shipped(name_or_path, "slurm/sites"), Site)
