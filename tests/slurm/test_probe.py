"""`clapas doctor --probe` on a real Slurm of two virtual nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
DOCTOR = (sys.executable, "-m", "clapas", "doctor", "--json", "--probe")


def by_check(output: str) -> dict[str, dict[str, str]]:
    """Check -> its finding."""
    return {finding["check"]: finding for finding in json.loads(output)}


def assert_two_nodes_are_sound(found: dict[str, dict[str, str]]) -> None:
    """What two nodes of one machine must show."""
    assert found["probe"]["found"] == "2 ranks on 2 nodes"
    assert found["ports between nodes"]["found"] == "every one tried, between 2 nodes"
    assert found["clocks of the nodes"]["status"] == "ok"
    assert "GB/s bus bandwidth (gloo, 16 MiB)" in found["all-reduce bandwidth"]["found"]


@pytest.mark.slow
def test_the_probe_as_a_job_of_a_site(slurm: Run, tmp_path: Path) -> None:
    """From the login node: two nodes are asked for, whatever --nodes says below that, and the answer comes back."""
    result = slurm(*DOCTOR, "--site", "local", cwd=tmp_path, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert_two_nodes_are_sound(by_check(result.stdout))


@pytest.mark.slow
def test_the_probe_inside_a_job(slurm: Run, tmp_path: Path) -> None:
    """In an allocation it takes a step of it; a job that cannot start says so."""
    result = slurm("salloc", "--nodes=2", "--ntasks-per-node=1", *DOCTOR, cwd=tmp_path, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert_two_nodes_are_sound(by_check(result.stdout))
    result = slurm("salloc", "--nodes=2", *DOCTOR, "--nodes", "3", cwd=tmp_path, timeout=300)
    assert result.returncode == 1
    assert by_check(result.stdout)["probe"]["status"] == "failure"
