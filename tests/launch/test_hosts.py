"""`clapas launch --hosts` over a real sshd on loopback. Where there is none it is skipped; with CI=true it fails."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clapas.launch.hosts import Host, read_hosts
from clapas.recipe.errors import UserError
from commands import clapas_environment
from undisturbed import SMALL, STEPS, logged, steps_done

SSHD = "/usr/sbin/sshd"
PATIENCE = 150.0


@pytest.fixture
def ssh_path(tmp_path: Path) -> Iterator[str]:
    """A PATH on which `ssh one` and `ssh two` reach an sshd of this test's own, with keys of its own."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None or os.geteuid() != 0:
        reason = "needs root and sshd: apt-get install openssh-server openssh-client"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = unused_port()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, for its separated process
    options = ["StrictModes=no", "UsePAM=no", "ListenAddress=127.0.0.1", "PidFile=none", f"Port={port}"]
    options += [f"HostKey={folder}/host", f"AuthorizedKeysFile={folder}/user.pub", "PasswordAuthentication=no"]
    (folder / "config").write_text(
        f"Host one two\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking accept-new\n"
    )
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    (folder / "ssh").chmod(0o755)
    command = [SSHD, "-D", "-e", "-f", "/dev/null", *(word for option in options for word in ("-o", option))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sshd:
        assert sshd.stderr
        assert "listening on" in sshd.stderr.readline(), "sshd does not start"
        reader = threading.Thread(target=sshd.stderr.read, daemon=True)  # so that it never waits for a full pipe
        reader.start()
        try:
            yield f"{folder}:{os.environ['PATH']}"
        finally:
            sshd.terminate()
            reader.join()


def unused_port() -> int:
    """A port of this machine that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_ranks_on_two_hosts_stop_together_and_go_on_exactly(
    ssh_path: str, undisturbed: list[dict[str, Any]], test_data: Path, tmp_path: Path
) -> None:
    """A signal to the launcher has the ranks of both save, exit 75; the same command goes on to the same end."""
    (tmp_path / "hosts").write_text("one address=127.0.0.1  # where the ranks meet\ntwo\n")
    recipe = ("test", f"data.path={test_data}", "run_dir=run", *SMALL)
    command = [sys.executable, "-m", "clapas", "launch", *recipe, "--hosts", "hosts"]
    environment = {**clapas_environment(), "PATH": ssh_path}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    watch = threading.Event()
    while steps_done(tmp_path / "run") < 4:
        assert first.poll() is None, first.communicate()[1]
        watch.wait(0.05)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == 75, errors
    assert 4 <= steps_done(tmp_path / "run") < STEPS
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert logged(tmp_path / "run") == undisturbed
    for number in ("001", "002"):
        kept = {path.name for path in (tmp_path / "run/launch" / number).iterdir()}
        assert {"recipe.yaml", "code.json"} <= kept


def test_a_host_that_cannot_be_reached_is_named(ssh_path: str, test_data: Path, tmp_path: Path) -> None:
    """Before anything is started: exit 2, and ssh's own words."""
    (tmp_path / "hosts").write_text("nowhere.invalid\none\n")
    command = [sys.executable, "-m", "clapas", "launch", "test", f"data.path={test_data}", "--hosts", "hosts"]
    environment = {**clapas_environment(), "PATH": ssh_path}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(
        "clapas: nowhere.invalid: cannot run Python there\n  found:   ssh: Could not resolve"
    )


def test_a_file_of_hosts(tmp_path: Path) -> None:
    """A host a line, with what the others call it; what is not one is named with its line."""
    path = tmp_path / "hosts"
    path.write_text("# ours\nme@a.example ranks=4 address=10.0.0.1\n\nb ranks=4\n")
    assert read_hosts(path) == [Host("me@a.example", 4, "10.0.0.1"), Host("b", 4, "b")]
    path.write_text("a ranks=4\nb\n")
    with pytest.raises(UserError, match="as many ranks"):
        read_hosts(path)
    path.write_text("a ranks=0\n")
    with pytest.raises(UserError, match="at least 1"):
        read_hosts(path)
    path.write_text("a\nb slots=2\n")
    with pytest.raises(UserError, match=r"hosts:2: not a host"):
        read_hosts(path)
