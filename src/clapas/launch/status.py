"""`clapas status`, `cancel` and `logs`: a launched run as its folder and the queue tell of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clapas.launch import slurm
from clapas.launch.records import Launch, newest_launch
from clapas.ledger.ledger import read_json_lines
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.recipe.typed import read_typed
from clapas.train.run_folder import read_outcome

POLL_SECONDS = 1.0
QUEUE_SECONDS = 5.0
"""How often the queue is asked while logs are followed: each time costs the controller something."""
RUNNING, PENDING = "RUNNING", "PENDING"


def status(run: Path) -> dict[str, Any]:
    """A launched run: its jobs that wait or run, its attempts, and how far each of its runs is."""
    launch = newest_launch(run)
    waiting = slurm.queue(launch.jobs)
    return {
        "launch": str(launch.folder),
        "jobs": [{"id": job.id, "state": job.state, "reason": job.reason, "left": job.left} for job in waiting],
        "submitted": launch.jobs,
        "cancelled": launch.is_cancelled,
        "runs": [_run_status(launch, path) for path in sorted(launch.folder.glob("recipe*.yaml"), key=_number)],
    }


def _number(path: Path) -> int:
    return int(path.stem.partition("-")[2] or 0)


def _run_status(launch: Launch, recipe_path: Path) -> dict[str, Any]:
    """One run: how far it is, at what loss and speed, and how it ended if it has."""
    recipe = read_typed(recipe_path, Recipe)
    folder = Path(launch.facts["folder"]) / recipe.folder
    metrics = folder / "metrics.jsonl"
    rows = [row for row in read_json_lines(metrics) if "split" not in row] if metrics.is_file() else []
    last = rows[-1] if rows else {}
    events = Launch(launch.folder, recipe_path.stem.partition("-")[2] or None).attempts()
    ends = [event for event in events if event["event"] == "end"]
    return {
        "run": str(folder),
        "step": last.get("step", 0),
        "steps": recipe.total_steps,
        "loss": last.get("loss"),
        "tokens_per_second": last.get("tokens_per_second"),
        "seconds_left": None if not rows else (recipe.total_steps - last["step"]) * last["step_seconds"],
        "attempts": sum(event["event"] == "begin" for event in events),
        "failures": sum(event["failed"] for event in ends),
        "failed_nodes": sorted({node for event in ends for node in event["failed_nodes"]}),
        "last_end": ends[-1]["reason"] if ends and events[-1] is ends[-1] else None,  # None: it has begun since
        "outcome": read_outcome(folder),
    }


def status_table(found: dict[str, Any]) -> str:
    """The same as text."""
    lines = [
        f"job {job['id']}: {job['state']}"
        + (f" ({job['reason']})" if job["state"] == PENDING else f", {job['left']} left")
        for job in found["jobs"]
    ] or [f"no job in the queue (submitted: {', '.join(found['submitted'])})"]
    if found["cancelled"]:
        lines.append("cancelled")
    for run in found["runs"]:
        lines.append(f"{run['run']}: step {run['step']:,} of {run['steps']:,}{_progress(run)}")
        failed = f", {run['failures']} failed" if run["failures"] else ""
        nodes = f" (nodes at fault: {', '.join(run['failed_nodes'])})" if run["failed_nodes"] else ""
        lines.append(f"  attempts: {run['attempts']}{failed}{nodes}")
        if run["last_end"]:
            lines.append(f"  ended:    {run['last_end']}")
    return "\n".join(lines)


def _progress(run: dict[str, Any]) -> str:
    if run["loss"] is None:
        return ""
    left = "" if run["step"] == run["steps"] else f", about {run['seconds_left'] / 3600:,.1f} h of training left"
    return f", loss {run['loss']:.3f}, {run['tokens_per_second']:,.0f} tokens/s{left}"


def cancel(run: Path, *, now: bool = False) -> list[str]:
    """Take a run's jobs out of the queue; those that run save first, unless `now`. What was done, a line a job."""
    launch = newest_launch(run)
    launch.mark_cancelled()  # before the queue is asked: a job that starts in between sees it
    jobs = slurm.queue(launch.jobs)
    saving = [] if now else [job.id for job in jobs if job.state == RUNNING]
    slurm.cancel([job.id for job in jobs if job.id not in saving])
    for job in saving:
        slurm.tell_to_stop(job)
    done = [f"job {job.id}: {'saves and ends' if job.id in saving else 'cancelled'}" for job in jobs]
    return done or ["no job of this run is in the queue"]


def logs(run: Path, *, follow: bool = False) -> Iterator[str]:
    """What the newest launch's jobs printed, in order. follow: and what they print, until none is left in the queue."""
    launch = newest_launch(run)
    places: dict[Path, int] = {}
    asked = 0.0
    while True:
        is_over = not follow
        if follow and time.monotonic() - asked >= QUEUE_SECONDS:
            is_over = not slurm.queue(launch.jobs)  # before the last look at the files
            asked = time.monotonic()
        for path in sorted(launch.folder.glob("job-*.log"), key=lambda file: file.stat().st_mtime):
            yield from _new_text(path, places)
        if is_over:
            break
        time.sleep(POLL_SECONDS)
    if not places:
        raise UserError("no job of this run has printed anything yet", where=launch.folder)


def _new_text(path: Path, places: dict[Path, int]) -> Iterator[str]:
    """What a file holds beyond where it was read before."""
    with path.open("rb") as file:
        file.seek(places.get(path, 0))
        content = file.read()
        places[path] = file.tell()
    if content:
        yield content.decode(errors="replace")


def print_logs(run: Path, *, follow: bool) -> None:
    """`logs`, to stdout, as they come."""
    for text in logs(run, follow=follow):
        sys.stdout.write(text)
        sys.stdout.flush()
