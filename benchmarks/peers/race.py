"""Sides that train in turn: each a process (or one a rank), started once, and only one of them at work at a time.

Turns are short and go round, forwards and backwards by turns, so that the noise of the machine meets all sides; what
counts is the ratio of two blocks of the same round.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peers.job import Job

HERE = Path(__file__).resolve().parent
SOURCES = os.pathsep.join(str(HERE.parents[1] / folder) for folder in ("src", "kernels", "data_tools"))
PROBE_STEPS = 2
"""After the warm-up: to see how long a step takes."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. script: beside this file. python: its interpreter, where it is not this one."""

    name: str
    script: str
    job: Job
    python: Path | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a side's blocks took. step_seconds: the mean of each block's steps, by round. facts: what it told last."""

    side: Side
    step_seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Racer:
    """The processes of a side."""

    def __init__(self, side: Side, log: Path) -> None:
        self.side, self._log = side, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self._scratch = tempfile.TemporaryDirectory(prefix="clapas-benchmark-")
        self._processes = [
            self._start(rank, {"MASTER_PORT": port, "CLAPAS_RENDEZVOUS": f"file://{self._scratch.name}/rendezvous"})
            for rank in range(side.job.ranks)
        ]

    def turn(self, steps: int) -> tuple[float, dict[str, Any]]:
        """Train `steps` steps. Returns the slowest rank's seconds, and what else rank 0 told.

        Raises RuntimeError where a process has ended.
        """
        answers = []
        for process in self._processes:
            assert process.stdin
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{self.side.name} ended; see {self._log}")
            answers.append(json.loads(line))
        seconds = max(answer.pop("seconds") for answer in answers)
        return seconds, answers[0]

    def peak_memory(self) -> int:
        """The most bytes that a process of this side has held (VmHWM)."""
        statuses = (Path(f"/proc/{process.pid}/status").read_text() for process in self._processes)
        return max(1024 * int(status.partition("VmHWM:")[2].split()[0]) for status in statuses)

    def close(self) -> None:
        """End the processes, and remove what they wrote."""
        for process in self._processes:
            process.communicate()
        self._scratch.cleanup()

    def _start(self, rank: int, meeting: dict[str, str]) -> subprocess.Popen[str]:
        job = replace(self.side.job, rank=rank, scratch=self._scratch.name)
        environment = {
            **os.environ,
            **meeting,
            "MASTER_ADDR": "127.0.0.1",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(job.ranks),
            "OMP_NUM_THREADS": str(job.threads),
            "PYTHONPATH": SOURCES,  # an interpreter of its own has no Clapas, whose CPU settings it may take
        }
        python = self.side.python or sys.executable
        return subprocess.Popen(
            [python, HERE / self.side.script, job.to_json()],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("a"),
            text=True,
        )


def race(sides: Sequence[Side], *, rounds: int, block_seconds: float, warm_up: int, logs: Path) -> list[Result]:
    """Let sides train in turn: `warm_up` steps each, then `rounds` rounds of a block each.

    block_seconds: about how long a block takes the slowest side; a step at least. All sides' blocks have as many steps.
    """
    logs.mkdir(parents=True, exist_ok=True)
    racers: list[Racer] = []
    try:
        for side in sides:
            racers.append(Racer(side, logs / f"{side.name.replace(' ', '-')}.log"))
            racers[-1].turn(warm_up)
        slowest = max(racer.turn(PROBE_STEPS)[0] / PROBE_STEPS for racer in racers)
        steps = max(1, round(block_seconds / slowest))
        results = [Result(side) for side in sides]
        for number in range(rounds):
            pairs = list(zip(racers, results, strict=True))
            for racer, result in pairs if number % 2 else reversed(pairs):
                seconds, facts = racer.turn(steps)
                result.step_seconds.append(seconds / steps)
                result.facts.update(facts)
        return results
    finally:
        for racer in racers:
            racer.close()
