"""One run of two ranks with every sink and measure on: what the tests of the callbacks read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commands import clapas_environment

SMALL = (
    "train.steps=6",
    "schedule.warmup_steps=2",
    "checkpoint.every=3",
    "evaluation.every=3",
    "evaluation.tokens=8192",
)


SECRETS = {
    "WANDB_API_KEY": "planted" + "a1b2c3d4" * 5,
    "HF_TOKEN": "hf_planted0123456789abcdefghij",
    "AWS_SECRET_ACCESS_KEY": "planted/aws/secret",
    "SLURM_JWT": "eyJplanted0.eyJplanted1.planted2",
    "https_proxy": "http://me:planted-password@127.0.0.1:9",
}
REMOTE = "https://me:planted-remote@example.org/team/code.git"


@pytest.fixture(scope="session")
def told_run(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Path:
    """Six steps on two ranks, a row every step, norms every second, a trace of steps 3 and 4. Do not change it.

    Started inside a git checkout, with secrets in the environment; beside it lies all that it said (`said`).
    """
    folder = tmp_path_factory.mktemp("told")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", REMOTE], check=True)
    sinks = ("telemetry.norms_every=2", "telemetry.tensorboard=true", "telemetry.wandb=offline", "profile.steps=[3,4]")
    train = ("train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, *sinks, "--nproc", "2")
    command = [sys.executable, "-m", "clapas", *train]
    environment = {**clapas_environment(), **SECRETS}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    (folder / "said").write_text(result.stdout + result.stderr)
    return folder / "run"
