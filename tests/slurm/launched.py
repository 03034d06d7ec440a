"""Launched runs: what the tests here share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clapas.launch.records import newest_launch
from undisturbed import SMALL

from .lab import Lab

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SITE = Path(__file__).with_name("lab.yaml")
PATIENCE = 150.0
ASKED = ("--site", SITE, "--account", "clapas@lab")


def launch(slurm: Lab, folder: Path, data: Path, *more: str, nodes: int = 2) -> subprocess.CompletedProcess[str]:
    """`clapas launch` of a small run, in folder/run."""
    recipe = ("test", f"data.path={data}", "run_dir=run", *SMALL)
    return slurm.clapas("launch", *recipe, *ASKED, "--nodes", nodes, *more, cwd=folder)


def job_log(run: Path) -> str:
    """What the jobs of a run's newest launch printed."""
    return "".join(path.read_text() for path in sorted(newest_launch(run).folder.glob("job-*.log")))


def ends(run: Path) -> list[dict[str, Any]]:
    """How the attempts of a run's newest launch ended."""
    return [event for event in newest_launch(run).attempts() if event["event"] == "end"]


def wait_until(condition: Callable[[], bool], run: Path, what: str) -> None:
    """Until it holds. Fails with the jobs' log after a while."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} in vain:\n{job_log(run)}"
        time.sleep(0.1)
