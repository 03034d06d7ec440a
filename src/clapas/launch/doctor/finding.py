"""What a check found, what the checks are asked about, and how findings are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clapas.recipe.errors import EXIT_DONE, EXIT_FAILED, UserError

if TYPE_CHECKING:  # pydantic and numpy take 0.2 s: for those who name a recipe or a site
    from clapas.plan.site import Partition, Site
    from clapas.recipe.recipe import Recipe

Status = Literal["ok", "warning", "failure", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result.

    status: "skipped" where nothing could be measured: `found` says why. why: why it matters. mend: the command, or the
    way, that mends it. Both are empty where all is well.
    """

    check: str
    status: Status
    found: str
    why: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What the doctor is asked about.

    folder: where the run would be started. recipe: what would run. site, partition: where, and how the user named them.
    nodes: how many. hours: how long, where the user says so. environment: the variables that the run would see.
    """

    folder: Path = field(default_factory=Path)
    recipe: Recipe | None = None
    site: Site | None = None
    partition: Partition | None = None
    site_name: str | None = None
    partition_name: str | None = None
    nodes: int = 1
    hours: float | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def run_folder(self) -> Path:
        """Where the run would write."""
        return self.folder / (self.recipe.folder if self.recipe else "runs")

    @property
    def is_in_job(self) -> bool:
        """Whether this process is part of a Slurm job, on a compute node."""
        return "SLURM_JOB_ID" in self.environment


def case_of(
    recipe: str | None,
    overrides: Sequence[str] = (),
    *,
    site: str | None = None,
    partition: str | None = None,
    nodes: int | None = None,
    hours: float | None = None,
) -> Case:
    """A case as the command line names it. Raises UserError where a recipe, a site or a partition is not known."""
    if nodes is not None and nodes < 1:
        way_out = "leave it out: one node"
        raise UserError("nothing runs on no node", where="--nodes", found=nodes, wanted="1 or more", way_out=way_out)
    if hours is not None and hours <= 0:
        raise UserError(
            "nothing runs in no time",
            where="--hours",
            found=f"{hours:g}",
            wanted="how long the run takes, over 0",
            way_out="leave it out: its own steps say it, or the plan",
        )
    if nodes is not None and site is None and not Case().is_in_job:  # whose nodes a probe may use
        raise UserError("nodes of which site?", where="--nodes", found=nodes, way_out="--site SITE, or leave it out")
    if partition is not None and site is None:
        raise UserError("a partition of which site?", where="--partition", found=partition, way_out="--site SITE")
    case = Case(nodes=nodes or 1, hours=hours)
    if recipe is not None:
        from clapas.recipe.recipe import read_recipe

        case = replace(case, recipe=read_recipe(recipe, list(overrides)))
    if site is not None:
        from clapas.plan.site import read_site

        known = read_site(site)
        chosen = known.partition(partition)
        case = replace(case, site=known, partition=chosen, site_name=site, partition_name=partition)
    return case


Check = Callable[[Case], Iterator[Finding]]


def exit_code(findings: Sequence[Finding]) -> int:
    """1 where any check failed, else 0."""
    return EXIT_FAILED if any(finding.status == "failure" for finding in findings) else EXIT_DONE


def findings_json(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The findings as plain data."""
    return [asdict(finding) for finding in findings]


def findings_table(findings: list[dict[str, str]]) -> str:
    """The findings as text: a line each, and below it why it matters and what mends it."""
    lines = []
    for finding in findings:
        lines.append(f"{finding['status']:8} {finding['check']}: {finding['found']}")
        if finding["why"]:
            lines.append(f"{'':8}   {finding['why']}\n{'':8}   mend: {finding['mend']}")
    return "\n".join(lines)


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists: where it would be made."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
