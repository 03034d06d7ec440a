"""`clapas data status DIR`: how far a build is, what of it is in the queue, and what failed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from clapas.launch import slurm
from clapas.launch.records import Launch, launches
from clapas_data.build import build_stages, open_build
from clapas_data.element import failures
from clapas_data.manifest import MANIFEST, read_manifest

TAIL = 5
"""Lines of a log that are shown."""
SHOWN = 10
"""Failed elements that are shown."""


def data_status(out: Path) -> dict[str, Any]:
    """A build's stages with their tasks, done and left; jobs in the queue; failed elements. Raises UserError where none
    was begun."""
    newest = launches(out)[-1] if launches(out) else None
    if (out / MANIFEST).exists():
        return {"built": read_manifest(out).hash, "stages": [], "jobs": [], "failed": []}
    folder = open_build(out)
    stages = []
    known = True
    for stage in build_stages(folder, folder.work.corpus):
        tasks = stage.tasks() if known else None
        done = sum(map(stage.done, range(tasks))) if tasks is not None else 0
        known = known and done == tasks
        stages.append({"stage": stage.name, "tasks": tasks, "done": done})
    jobs = slurm.queue(newest.jobs) if newest and shutil.which("squeue") else []
    failed = [{"element": name, **facts, "log": _tail(newest, name)} for name, facts in failures(folder).items()]
    return {
        "built": None,
        "stages": stages,
        "jobs": [{"id": job.id, "state": job.state, "reason": job.reason} for job in jobs],
        "failed": failed,
    }


def _tail(launch: Launch | None, element: str) -> list[str]:
    """The last lines that an element printed, in its newest launch."""
    path = launch.folder / f"job-{element}.log" if launch else None
    return path.read_text(errors="replace").splitlines()[-TAIL:] if path and path.exists() else []


def _gist(message: str) -> str:
    """The line of a message that says what is wrong: the last of a traceback."""
    lines = message.strip().splitlines()
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def data_status_table(found: dict[str, Any]) -> str:
    """The same as text."""
    if found["built"]:
        return f"built: hash {found['built'][:16]}"
    lines = []
    for stage in found["stages"]:
        tasks = "not known yet" if stage["tasks"] is None else f"{stage['done']:,} of {stage['tasks']:,} done"
        lines.append(f"{stage['stage']:20} {tasks}")
    states: dict[str, int] = {}
    for job in found["jobs"]:
        states[job["state"]] = states.get(job["state"], 0) + 1
    queued = ", ".join(f"{count} {state.lower()}" for state, count in states.items())
    lines.append(f"in the queue: {queued or 'nothing; run the same command again to go on'}")
    for failure in found["failed"][:SHOWN]:
        lines.append(f"failed: {failure['element']} on {failure['host']}: {_gist(failure['message'])}")
        lines += [f"    {line}" for line in failure["log"]]
    if (more := len(found["failed"]) - SHOWN) > 0:
        lines.append(f"... and {more} more")
    return "\n".join(lines)
