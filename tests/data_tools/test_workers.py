"""Shared work: results in order, errors as they are, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from clapas.recipe.errors import ClapasError, UserError
from clapas_data.workers import Workers


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise UserError("not three", where="file:3", way_out="four")
    return number


def withheld(number: int) -> set[signal.Signals]:
    return {one for one in signal.pthread_sigmask(signal.SIG_BLOCK, []) if isinstance(one, signal.Signals)}


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_ctrl_c_reaches_no_worker() -> None:
    """It is withheld from their first instruction on: none prints a traceback while it starts. The caller has it."""
    with Workers(2) as workers:
        assert all(signal.SIGINT in found for found in workers.map(withheld, range(4)))
    assert signal.SIGINT not in withheld(0)


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_at_all_are_refused(count: int) -> None:
    """Before any work is begun."""
    with pytest.raises(UserError, match="--workers: too few"):
        Workers(count)


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order(count: int) -> None:
    """Whatever the number of processes."""
    with Workers(count) as workers:
        assert list(workers.map(square, range(50))) == [number * number for number in range(50)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_users_error_stays_one(count: int) -> None:
    """A message raised in a worker arrives whole, after the results before it."""
    found = []
    with pytest.raises(UserError) as error, Workers(count) as workers:
        found.extend(workers.map(refuse, range(10)))
    assert str(error.value) == str(UserError("not three", where="file:3", way_out="four"))


def test_a_dead_worker_is_told() -> None:
    """A worker killed by the system ends the work with a message, not with a wait for ever."""
    with pytest.raises(ClapasError, match="a worker process died"), Workers(2) as workers:
        list(workers.map(die, [1]))


CALLER = """
import multiprocessing, os, signal, sys
from clapas_data.workers import Workers
def main():
    with Workers(2) as workers:
        for result in workers.map(os.getpgid, [0] * 8):
            pass
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    main()
"""


def test_workers_end_with_a_killed_caller(tmp_path: os.PathLike[str]) -> None:
    """kill -9 of the caller leaves no process."""
    script = os.path.join(tmp_path, "caller.py")  # noqa: PTH118
    with open(script, "w") as file:  # noqa: PTH123
        file.write(CALLER)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    workers = [int(pid) for pid in run.stdout.split()]
    assert len(workers) == 2
    ends = time.monotonic() + 20
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < ends, "a worker outlived its caller"
        os.sched_yield()


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
