"""A real Slurm of two virtual nodes. Where it cannot run its tests are skipped; with CI=true they fail."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAB = Path(__file__).with_name("slurm_lab.sh")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "unshare")
NAMESPACES = ("unshare", "--pid", "--fork", "--mount-proc", "--uts", "true")
PORTS = range(10_000, 15_000, 10)
"""For Slurm itself: below those that steps take (`clapas.engine.step_port`)."""


class Lab:
    """A running Slurm of node1 and node2, each of 4 CPUs and 4 GPUs that compute nothing."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.environment = {**login_environment(), "SLURM_CONF": str(folder / "slurm.conf")}

    def __call__(self, *command: object, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder, as on the login node; the finished process, its output as text."""
        words = list(map(str, command))
        return subprocess.run(
            words, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def clapas(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The same for `clapas ARGUMENTS`."""
        return self(sys.executable, "-m", "clapas", *arguments, cwd=cwd)

    def crash(self, node: int) -> None:
        """As a power cut: its slurmd and all that runs on it end at once."""
        self._order(f"crash {node}")

    def boot(self, node: int) -> None:
        """Start the slurmd of a node that has crashed."""
        self._order(f"boot {node}")

    def _order(self, order: str) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", order


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A real Slurm for this session's tests."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    pipe = subprocess.PIPE
    with subprocess.Popen([LAB, folder, str(free_port())], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as lab:
        assert lab.stdout is not None
        assert lab.stderr is not None
        if lab.stdout.readline() != "ready\n":
            pytest.fail(f"Slurm did not start: {lab.stderr.read()}")
        yield Lab(folder, lab)


def why_not() -> str | None:
    """Why Slurm cannot run here; None where it can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    if os.geteuid() != 0:
        return "needs root: a slurmd for each virtual node"
    if subprocess.run(NAMESPACES, capture_output=True, check=False).returncode != 0:
        return "needs namespaces, which this container forbids: a host name for each virtual node"
    return None


def login_environment() -> dict[str, str]:
    """This environment without what a launcher or another Slurm put there."""
    launcher = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CLAPAS_RENDEZVOUS")
    return {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}


def free_port() -> int:
    """The first of ten ports of which the lowest three, which Slurm takes, are free."""
    for port in PORTS:
        if all(is_free(port + more) for more in range(3)):
            return port
    pytest.fail(f"no free ports in {PORTS}")


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
