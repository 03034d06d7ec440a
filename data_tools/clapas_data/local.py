"""Stages run by processes of this machine, one stage after another."""

from __future__ import annotations

from collections.abc import Sequence

from clapas_data.progress import progress
from clapas_data.stages import OneTask, Stage
from clapas_data.workers import Workers


def run_stages(stages: Sequence[Stage], workers: Workers) -> None:
    """Do all tasks that are not done. Raises what a task raises; then no process is left at work."""
    try:
        for stage in stages:
            run_tasks(stage, stage.missing(), workers)
    except BaseException:
        workers.stop()
        raise


def run_tasks(stage: Stage, tasks: Sequence[int], workers: Workers) -> None:
    """Do some tasks of a stage: a single one in this process."""
    if not tasks:
        return
    if isinstance(stage, OneTask):
        stage.run(0)
        return
    in_bytes = stage.unit[0] == "MB"
    total = sum(map(stage.size, tasks)) if in_bytes else len(tasks)
    with progress(stage.name, total, *stage.unit) as advance:
        if len(tasks) == 1:
            stage.run(tasks[0])
            return
        done = workers.map(_run_task, ((stage, task) for task in tasks))
        for task, _ in zip(tasks, done, strict=True):
            advance(stage.size(task) if in_bytes else 1)


def _run_task(task: tuple[Stage, int]) -> None:
    stage, number = task
    stage.run(number)
