"""A recipe against its data, and against what the site's nodes can do and its queues allow.

What needs numpy and pydantic is imported where there is a recipe: without one the doctor answers in 0.1 s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clapas.launch.doctor.duration import duration_of
from clapas.launch.doctor.finding import Case, Finding
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.plan.site import Qos


def data(case: Case) -> Iterator[Finding]:
    """The manifest, and size and header of every shard; content is `clapas data verify`'s."""
    if case.recipe is None:
        return
    from clapas_data.manifest import open_manifest

    try:
        manifest = open_manifest(case.folder / case.recipe.data.path)
    except UserError as error:
        yield _of_error("data", error, "training would be refused")
        return
    except OSError as error:
        where = error.filename or case.recipe.data.path
        yield Finding("data", "failure", f"{where}: {error.strerror}", "ranks read it", f"ls -l {where}")
        return
    tokens = sum(shard.tokens for shard in manifest.shards)
    yield Finding("data", "ok", f"{len(manifest.shards):,} shards, {tokens:,} tokens: sizes and headers as recorded")


def ranks(case: Case) -> Iterator[Finding]:
    """What training itself would refuse, on the ranks that the site's nodes give."""
    if case.recipe is None:
        return
    from clapas.train.preflight import preflight

    size = case.nodes * (case.partition.gpus_per_node if case.partition else 1)
    at_home = case.recipe.model_copy(
        update={"data": case.recipe.data.model_copy(update={"path": case.folder / case.recipe.data.path})}
    )
    try:
        preflight(at_home, size)
    except UserError as error:
        yield _of_error("recipe", error, f"training on {size} ranks would be refused")
    except OSError:
        return  # `data` tells
    else:
        yield Finding("recipe", "ok", f"{case.recipe.name} on {size} rank{'s' * (size > 1)}")


def precision(case: Case) -> Iterator[Finding]:
    """A precision that the site's device has no arithmetic for."""
    if case.recipe is None or case.partition is None or case.partition.device.startswith("CPU"):
        return
    from clapas.plan.hardware import read_hardware

    name, wanted = case.partition.device, case.recipe.precision
    device = next((known for known in read_hardware() if known.name == name), None)
    if device is None:
        yield Finding("precision", "skipped", f"{name} is not in slurm/hardware.yaml")
    elif device.peak_flops(wanted) is None:
        why = f"{name} has no {wanted}: torch computes it by way of fp32, many times slower, or fails"
        mend = "precision=fp16" if wanted == "bf16" else "precision=bf16, or another partition"
        yield Finding("precision", "failure", f"{wanted} on {name}", why, mend)
    else:
        yield Finding("precision", "ok", f"{wanted} on {name}")


def queues(case: Case) -> Iterator[Finding]:
    """The nodes asked for, and the length of the run, against the site's QoS."""
    if case.partition is None or case.site is None:
        return
    gpus = case.nodes * case.partition.gpus_per_node
    if not case.partition.qos:
        yield Finding("queues", "skipped", f"site {case.site.name} has no limits on record for this partition")
        return
    fitting = [qos for qos in case.partition.qos if _admits(qos, gpus, case.nodes)]
    if not fitting:
        known = ", ".join(f"{q.name} (at most {_size_told(q)})" for q in case.partition.qos)
        why = f"the job would be refused, or wait for ever: {known}"
        largest = max(q.max_gpus or 0 for q in case.partition.qos) // case.partition.gpus_per_node
        yield Finding("queues", "failure", f"{gpus} GPUs on {case.nodes} nodes", why, f"--nodes {largest}")
        return
    longest = max(fitting, key=lambda qos: qos.max_hours)
    length = duration_of(case)
    told = f"{gpus} GPUs fit {', '.join(f'{qos.name} ({qos.max_hours:g} h)' for qos in fitting)}"
    if length is None:
        told += "; how long the run takes is not measured"
    elif length.hours > longest.max_hours:
        jobs = math.ceil(length.hours / longest.max_hours)
        told += f"; the run takes {length}: {jobs} jobs in a row (`clapas launch --chain {jobs}`)"
    else:
        told += f"; the run takes {length}"
    yield Finding("queues", "ok", told)


def directories(case: Case) -> Iterator[Finding]:
    """The variables by which the site names its file systems: absent, this is not that site."""
    if case.site is None:
        return
    named = [getattr(case.site.directories, name) for name in ("scratch", "work", "store", "datasets")]
    missing = [d.variable for d in named if d is not None and d.variable not in case.environment]
    if missing:
        found = ", ".join(f"${name}" for name in missing)
        why = f"{case.site.title} sets {'them' if len(missing) > 1 else 'it'}: paths in the recipe would be empty there"
        yield Finding("site", "warning", f"not set here: {found}", why, f"run this on {case.site.name}")
    else:
        yield Finding("site", "ok", case.site.title)


def _admits(qos: Qos, gpus: int, nodes: int) -> bool:
    return (qos.max_gpus is None or gpus <= qos.max_gpus) and (qos.max_nodes is None or nodes <= qos.max_nodes)


def _size_told(qos: Qos) -> str:
    sizes = [f"{qos.max_gpus} GPUs"] * (qos.max_gpus is not None) + [f"{qos.max_nodes} nodes"] * (
        qos.max_nodes is not None
    )
    return ", ".join(sizes) or "any size"


def _of_error(check: str, error: UserError, why: str) -> Finding:
    where = f"{error.where}: " if error.where else ""
    found = f"; found {error.found}" if error.found is not None else ""
    wanted = f"; wanted {error.wanted}" if error.wanted else ""
    mend = error.way_out or "see what is wanted"
    return Finding(check, "failure", f"{where}{error.what}{found}{wanted}", why, mend)
