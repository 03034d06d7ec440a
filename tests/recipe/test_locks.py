"""Locks between processes: held by one, gone with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clapas.recipe.locks import take_lock

HOLD = """
import os, sys
from pathlib import Path
from clapas.recipe.locks import take_lock
handle = take_lock(Path(sys.argv[1]), wait=False)
os.write(handle, sys.argv[2].encode())
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["pid 7 on node3", ""])
def holder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that holds the lock and has written its name, or nothing, in the file."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock"), request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process, request.param
        process.kill()


def test_a_held_lock_names_its_holder(holder: tuple[subprocess.Popen[bytes], str], tmp_path: Path) -> None:
    """Or says that there is no name."""
    with pytest.raises(BlockingIOError) as error:
        take_lock(tmp_path / "lock", wait=False)
    assert error.value.strerror == (holder[1] or "a process that did not leave its name")


def test_a_killed_holder_lets_go(holder: tuple[subprocess.Popen[bytes], str], tmp_path: Path) -> None:
    """The lock is the system's: nothing has to be cleared away by hand."""
    holder[0].kill()
    holder[0].wait()
    os.close(take_lock(tmp_path / "lock", wait=False))


def test_a_lock_is_taken_again_when_its_handle_is_closed(tmp_path: Path) -> None:
    """The file stays: removing it would let two processes lock two files of one name."""
    os.close(take_lock(tmp_path / "lock", wait=True))
    assert (tmp_path / "lock").exists()
    os.close(take_lock(tmp_path / "lock", wait=False))
