"""The Slurm of these tests, as they command it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLANTED = {"HF_TOKEN": "hf_0aPlantedTokenOfTheseTests", "WANDB_API_KEY": "0aplantedkeyofthesetests" * 2}
"""Secrets in the environment of who launches, which Slurm hands on to the job: no run may write them down."""
BEATING = {"SBATCH_NO_REQUEUE": "1"}
"""As some have in their profile: sbatch lets it beat the script, whose jobs would not go on then."""


class Lab:
    """A running Slurm of node1 and node2, each of 4 CPUs and 4 GPUs that compute nothing."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.environment = {**login_environment(), **PLANTED, **BEATING, "SLURM_CONF": str(folder / "slurm.conf")}

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


def login_environment() -> dict[str, str]:
    """This environment without what a launcher or another Slurm put there."""
    launcher = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CLAPAS_RENDEZVOUS")
    return {name: value for name, value in os.environ.items() if name not in launcher and "SLURM" not in name}
