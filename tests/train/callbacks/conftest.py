"""One run of two ranks with every sink and measure on: what the tests of the callbacks read."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import Clapas

SMALL = ("train.steps=6", "schedule.warmup_steps=2", "checkpoint.every=3", "evaluation.every=3")


@pytest.fixture(scope="session")
def told_run(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """Six steps on two ranks, a row every step, norms every second, a trace of steps 3 and 4. Do not change it."""
    folder = tmp_path_factory.mktemp("told")
    sinks = ("telemetry.norms_every=2", "telemetry.tensorboard=true", "telemetry.wandb=offline", "profile.steps=[3,4]")
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, *sinks, "--nproc", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"
