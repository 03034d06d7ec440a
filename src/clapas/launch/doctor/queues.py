"""The nodes asked for, and the length of the run, against what the site's queues take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clapas.launch.doctor.duration import duration_of
from clapas.launch.doctor.finding import Case, Finding

if TYPE_CHECKING:
    from clapas.plan.site import Partition, Qos

HOUR = 3600


def queues(case: Case) -> Iterator[Finding]:
    """The QoS that take the job, and how many jobs in a row the run needs where `clapas launch` chooses."""
    if case.partition is None or case.site is None:
        return
    gpus = case.nodes * case.partition.gpus_per_node
    fitting = [qos for qos in case.partition.qos if _admits(qos, gpus, case.nodes)]
    if case.partition.qos and not fitting:
        known = ", ".join(f"{q.name} (at most {_size_told(q)})" for q in case.partition.qos)
        why = f"the job would be refused, or wait for ever: {known}"
        largest = max(_most_nodes(qos, case.partition) for qos in case.partition.qos)
        mend = f"--nodes {largest}" if largest else "another --partition"
        yield Finding("queues", "failure", f"{gpus} GPUs on {case.nodes} nodes", why, mend)
        return
    chosen, hours = _by_launch(case)
    if hours is None:
        yield Finding("queues", "skipped", f"site {case.site.name} has no limits on record for this partition")
        return
    if fitting:
        told = f"{gpus} GPUs fit {', '.join(f'{qos.name} ({qos.max_hours:g} h)' for qos in fitting)}"
    else:
        told = f"jobs on this partition last at most {hours:g} h"
    yield Finding("queues", "ok", f"{told}; {_length_told(case, chosen, hours, fitting)}")


def _by_launch(case: Case) -> tuple[Qos | None, float | None]:
    """The QoS, and its hours, that `clapas launch` takes where the user names neither; None: no limit on record."""
    from clapas.launch.job import Choices, fitting_qos, kind_of

    assert case.site is not None
    choices = Choices(case.nodes, case.partition_name)
    qos, seconds = fitting_qos(case.site, kind_of(case.site, choices), choices)
    return qos, None if seconds is None else seconds / HOUR


def _length_told(case: Case, chosen: Qos | None, hours: float, fitting: list[Qos]) -> str:
    """How many jobs in a row the run takes, and on which QoS and time that counts."""
    length = duration_of(case)
    if length is None:
        return "how long the run takes is not measured"
    if length.hours <= hours:
        return f"the run takes {length}"
    jobs = math.ceil(length.hours / hours)
    under = f" under {chosen.name}" if chosen else ""
    told = f"the run takes {length}: {jobs} jobs in a row of {hours:g} h{under} (`clapas launch --chain {jobs}`)"
    longest = max(fitting, key=lambda qos: qos.max_hours, default=None)
    if chosen is None or longest is None or longest.max_hours <= hours:
        return told
    fewer = math.ceil(length.hours / longest.max_hours)
    chain = f" --chain {fewer}" if fewer > 1 else ""
    return f"{told}, or {fewer} of {longest.max_hours:g} h (`--qos {longest.name}{chain}`)"


def _admits(qos: Qos, gpus: int, nodes: int) -> bool:
    from clapas.launch.job import over

    return not any(over(qos, nodes, gpus, wall=None))


def _most_nodes(qos: Qos, partition: Partition) -> int:
    """Of one job; at least one of the QoS's two limits is known where it refuses a job."""
    limits: list[int] = []
    if qos.max_gpus is not None:
        limits.append(qos.max_gpus // partition.gpus_per_node)
    if qos.max_nodes is not None:
        limits.append(qos.max_nodes)
    return min(limits)


def _size_told(qos: Qos) -> str:
    sizes = [f"{qos.max_gpus} GPUs"] * (qos.max_gpus is not None) + [f"{qos.max_nodes} nodes"] * (
        qos.max_nodes is not None
    )
    return ", ".join(sizes) or "any size"
