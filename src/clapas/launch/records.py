"""The folder of a launch, RUN/launch/NNN/: what was submitted, and what has become of it.

job.sh, recipe.yaml     the batch script, and the recipe that it trains, as resolved (a sweep: recipe-0.yaml, …)
launch.json             jobs, site and choices
code.json, code.diff    the version of the code, and what was changed on top of it
attempts.jsonl          one line at the begin and at the end of each attempt (a sweep: attempts-0.jsonl, …)
job-ID.log              what the job printed, all its attempts
cancelled               `clapas cancel` was here: whatever the job does, it does not go on
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.ledger.ledger import read_json_lines
from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.line_log import LineLog


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch's folder. task: which run of a sweep, or None."""

    folder: Path
    task: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """`launch.json`."""
        return orjson.loads((self.folder / "launch.json").read_bytes())

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Write `launch.json`."""
        atomic_write(self.folder / "launch.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2))

    @property
    def jobs(self) -> list[str]:
        """Its jobs: those that `clapas launch` submitted, and those of the same script that have begun since."""
        begun = (
            event["job"]
            for path in sorted(self.folder.glob("attempts*.jsonl"))
            for event in read_json_lines(path)
            if event["event"] == "begin"
        )
        return list(dict.fromkeys([*self.facts["jobs"], *(job.partition("_")[0] for job in begun)]))

    @property
    def code(self) -> dict[str, Any]:
        """`code.json`."""
        return orjson.loads((self.folder / "code.json").read_bytes())

    @property
    def is_cancelled(self) -> bool:
        """Whether `clapas cancel` was here."""
        return (self.folder / "cancelled").exists()

    def mark_cancelled(self) -> None:
        """Let nothing of this launch go on."""
        atomic_write(self.folder / "cancelled", f"{time.strftime('%FT%TZ', time.gmtime())}\n")

    @property
    def _attempts_path(self) -> Path:
        return self.folder / ("attempts.jsonl" if self.task is None else f"attempts-{self.task}.jsonl")

    def attempts(self) -> list[dict[str, Any]]:
        """What was recorded: events `begin` and `end`."""
        return read_json_lines(self._attempts_path) if self._attempts_path.is_file() else []

    def record(self, event: str, **facts: Any) -> None:
        """Append a line."""
        line = {"event": event, "time": round(time.time(), 3), **facts}
        LineLog(self._attempts_path, durable=True).append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def log_of(self, job: str) -> Path:
        """What a job printed."""
        return self.folder / f"job-{job}.log"


def this_task() -> str | None:
    """Which run of a sweep this process is, as Slurm says."""
    return os.environ.get("SLURM_ARRAY_TASK_ID")


def this_job() -> str:
    """The job that this process is in, as its log is named: `12`, or `12_3` in an array."""
    task = this_task()
    return os.environ["SLURM_JOB_ID"] if task is None else f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"


def launches(run: Path) -> list[Launch]:
    """A run's launches that were submitted, in order."""
    folders = sorted(path for path in (run / "launch").glob("[0-9]*") if (path / "launch.json").is_file())
    return [Launch(folder.resolve()) for folder in folders]


def newest_launch(run: Path) -> Launch:
    """Raises UserError where the run was never launched."""
    found = launches(run)
    if not found:
        raise UserError(
            "not a launched run: it has no launch/",
            where=run,
            wanted="the folder of a run that `clapas launch` has submitted",
        )
    return found[-1]


def next_folder(run: Path) -> Path:
    """The folder of a run's next launch, absolute."""
    numbers = [int(path.name) for path in (run / "launch").glob("[0-9]*") if path.name.isdigit()]
    return run.resolve() / "launch" / f"{1 + max(numbers, default=0):03d}"
