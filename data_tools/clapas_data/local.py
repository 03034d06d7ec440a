"""Stages run by processes of this machine, one stage after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from clapas_data.progress import progress
from clapas_data.stages import OneTask, Stage
from clapas_data.workers import Workers

Note = Callable[[str, float], None]
"""Takes a stage's name and how many seconds all processes worked on it."""
LIGHT_BYTES = 2**20
"""Work on less than this is done before another process has started."""


def run_stages(stages: Sequence[Stage], workers: Workers, note: Note | None = None) -> None:
    """Do all tasks that are not done. Raises what a task raises; then no process is left at work."""
    try:
        for stage in stages:
            run_tasks(stage, stage.missing(), workers, note)
    except BaseException:
        workers.stop()
        raise


def run_tasks(stage: Stage, tasks: Sequence[int], workers: Workers, note: Note | None = None) -> None:
    """Do some tasks of a stage: a single one, or light ones, in this process."""
    if not tasks:
        return
    if len(tasks) == 1 and isinstance(stage, OneTask):
        seconds = _run_task((stage, tasks[0]))
    else:
        seconds = _run_shown(stage, tasks, workers)
    if note is not None:
        note(stage.name, seconds)


def _run_shown(stage: Stage, tasks: Sequence[int], workers: Workers) -> float:
    in_bytes = stage.unit[0] == "MB"
    size = sum(map(stage.size, tasks))
    here = len(tasks) == 1 or 0 < size < LIGHT_BYTES
    total = size if in_bytes else len(tasks)
    work = ((stage, task) for task in tasks)
    seconds = 0.0
    with progress(stage.name, total, *stage.unit) as advance:
        done = map(_run_task, work) if here else workers.map(_run_task, work)
        for task, own in zip(tasks, done, strict=True):
            seconds += own
            advance(stage.size(task) if in_bytes else 1)
    return seconds


def _run_task(task: tuple[Stage, int]) -> float:
    """Do a task; how many seconds it took."""
    stage, number = task
    began = time.monotonic()
    stage.run(number)
    return time.monotonic() - began
