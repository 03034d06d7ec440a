"""`clapas train --nproc N`: N ranks on this machine, started, watched and ended together. Knows no torch.

The ranks meet through a file, so there is no port to choose and none to collide. Signals to this process go on to all
ranks. When a rank dies the others are ended: they could only wait for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from clapas.recipe.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED
from clapas.train.stop import SIGNALS

GRACE_SECONDS = 20.0
"""How long the other ranks may take to end by themselves after one has failed."""
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where ranks meet that are not all on this machine. first_rank: of those here; world_size: all of them."""

    host: str
    port: int
    first_rank: int
    world_size: int


def run_ranks(arguments: list[str], ranks: int, threads: int | None, meeting: Meeting | None = None) -> int:
    """Run `clapas ARGUMENTS` as `ranks` processes. Returns the exit code that they agreed on, or the first failure's.

    threads: CPU threads of each; by default the machine's cores shared among them. meeting: by default these are all.
    """
    threads = threads or max(1, len(os.sched_getaffinity(0)) // ranks)
    with tempfile.TemporaryDirectory(prefix="clapas-") as folder:
        common = {**os.environ, "OMP_NUM_THREADS": str(threads), **_place(meeting, ranks, folder)}
        first_rank = meeting.first_rank if meeting else 0
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "clapas", *arguments],
                env={**common, "RANK": str(first_rank + rank), "LOCAL_RANK": str(rank)},
                start_new_session=True,  # a Ctrl-C reaches this process alone, which passes it on once
                preexec_fn=_die_with_parent,
            )
            for rank in range(ranks)
        ]
        previous = {number: signal.signal(number, lambda n, _: _signal_all(processes, n)) for number in SIGNALS}
        try:
            return _wait(processes)
        finally:
            _end(processes)
            for number, handler in previous.items():
                signal.signal(number, handler)


def _place(meeting: Meeting | None, ranks: int, folder: str) -> dict[str, str]:
    """The environment that all ranks share."""
    if meeting is None:
        return {"WORLD_SIZE": str(ranks), "CLAPAS_RENDEZVOUS": f"file://{folder}/rendezvous"}
    port, size = str(meeting.port), str(meeting.world_size)
    return {"WORLD_SIZE": size, "MASTER_ADDR": meeting.host, "MASTER_PORT": port}


def _die_with_parent() -> None:
    """In the child: end when the parent is killed, so that no rank is left behind (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_all(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int:
    """Until all have ended, or one has failed and the rest had their grace."""
    deadline: float | None = None
    first: list[int] = []  # the codes of those that failed first: the others could only follow
    while True:
        codes = [process.poll() for process in processes]
        first = first or [code for code in codes if code]
        if all(code is not None for code in codes):
            return exit_code_of(first)
        if first and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return exit_code_of(first)
        time.sleep(POLL_SECONDS)


def exit_code_of(first: list[int]) -> int:
    """One code for all: 0, or that of the ranks which failed first; 130 after Ctrl-C, 1 where a signal ended one."""
    if not first:
        return 0
    if EXIT_BAD_INPUT in first:
        return EXIT_BAD_INPUT
    if first[0] == -signal.SIGINT:
        return EXIT_INTERRUPTED
    return max(first[0], EXIT_FAILED)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
    for process in processes:
        process.wait()


def under_launcher() -> bool:
    """Whether this process is already one rank of several (torchrun, srun, or `--nproc`)."""
    return "RANK" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
