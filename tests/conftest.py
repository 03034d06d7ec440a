"""What many tests need: the test corpus as shards, and the command line as a stranger runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two cores, several processes: threads would fight
Clapas = Callable[..., "subprocess.CompletedProcess[str]"]


def clapas_environment() -> dict[str, str]:
    """The environment of a rank on its own: nothing of a launcher's."""
    launcher = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CLAPAS_RENDEZVOUS")
    return {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}


@pytest.fixture(scope="session")
def clapas() -> Clapas:
    """Run `clapas ARGUMENTS` in a folder; returns the finished process with its output as text."""

    def run(*arguments: object, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clapas", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=clapas_environment(), capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@pytest.fixture(scope="session")
def test_data(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas) -> Path:
    """The test corpus (fiches-travail, real French) with a tokenizer of 2,048 ids, built by the commands themselves."""
    folder = tmp_path_factory.mktemp("corpus")
    train = ("tokenizer", "train", "test", "--vocab-size", 2048, "--out", "test/tokenizer")
    for arguments in (train, ("data", "build", "test", "--out", "test")):
        result = clapas(*arguments, cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder / "test"
