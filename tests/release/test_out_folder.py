"""What is exported or released appears whole, and what killed processes left half made goes, theirs alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clapas.release.out_folder import out_folder
from clapas_data.files import FOREIGN_SECONDS
from commands import clapas_environment

MAKE = """
import signal, sys
from pathlib import Path
from clapas.release.out_folder import out_folder
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a test run under nohup ignores
with out_folder(Path(sys.argv[1])) as folder:
    (folder / "config.json").write_text("{}")
    print("half", flush=True)
    sys.stdin.read()
"""


def half_made(out: Path) -> subprocess.Popen[str]:
    """A process that has written half a folder, and waits."""
    command = [sys.executable, "-c", MAKE, str(out)]
    process = subprocess.Popen(
        command,
        env=clapas_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_removes_what_is_half_made(tmp_path: Path, number: signal.Signals) -> None:
    """And says so, with the exit code of a process that the signal ended."""
    process = half_made(tmp_path / "model")
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number
    assert said == f"clapas: told to end ({number.name}); nothing is left half written\n"
    assert list(tmp_path.iterdir()) == []


def test_the_next_one_removes_what_a_killed_one_left_and_no_other(tmp_path: Path) -> None:
    """Under any name; what a living process is at stays, this one's and those of the folders around it too."""
    killed, alive = half_made(tmp_path / "killed"), half_made(tmp_path / "alive")
    killed.kill()
    killed.communicate()
    (there,) = tmp_path.glob(".alive.*")
    with out_folder(tmp_path / "outer") as outer, out_folder(outer) as inner:
        (inner / "config.json").touch()
        assert {path.name for path in tmp_path.iterdir()} == {there.name, outer.name, inner.name}
    alive.communicate("")
    assert {path.name for path in tmp_path.iterdir()} == {"outer", "alive"}


def test_a_folder_in_a_partial_one_of_a_killed_process_goes_too(tmp_path: Path) -> None:
    """A release's export, beside the release; of an earlier process with this one's number as well."""
    host = os.uname().nodename
    for number in (4194305, os.getpid()):  # the first is above any process's
        (tmp_path / f"..model.partial-{host}-{number}.partial-{host}-{number}").mkdir()
    (tmp_path / f".verify.partial-{host}-4194305-ab_d1234").mkdir()
    with out_folder(tmp_path / "model"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_another_machine_is_writing_stays(tmp_path: Path) -> None:
    """However old the folder: the newest file in it tells."""
    long_ago = time.time() - 2 * FOREIGN_SECONDS
    for name in ("busy", "left"):
        partial = tmp_path / f".{name}.partial-elsewhere-17"
        partial.mkdir()
        (partial / "model.safetensors").touch()
        os.utime(partial, (long_ago, long_ago))
    os.utime(tmp_path / ".left.partial-elsewhere-17/model.safetensors", (long_ago, long_ago))
    with out_folder(tmp_path / "model"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".busy.partial-elsewhere-17", "model"]


def test_signals_are_left_to_whoever_has_them(tmp_path: Path) -> None:
    """A handler that is there stays; outside of the main thread nobody asks for signals; afterwards it is as before."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with out_folder(tmp_path / "model"):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    thread = threading.Thread(target=lambda: out_folder(tmp_path / "other").__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
