"""The moving average begins with the first weights that training made, whatever was skipped or frozen before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from clapas.checkpoint.format import AVERAGE
from clapas.checkpoint.reader import CheckpointReader
from commands import Clapas, clapas_environment, python

FIRST_STEP_OVERFLOWS = """
import sys
import clapas
from clapas.train.objective import language_modelling

def objective(engine, batch):
    total, losses = language_modelling(engine, batch)
    return (total * 1e9 if engine.deepspeed.global_steps == 0 else total), losses

clapas.train(clapas.read_recipe("test", sys.argv[1:]), objective=objective)
"""
SMALL = (
    "train.steps=4",
    "schedule.warmup_steps=1",
    "checkpoint={every: 1, keep: 4}",
    "evaluation.every=100",
    "optimizer.ema_decay=0.9",
    "run_dir=run",
)


def checkpoint(run: Path, step: int) -> CheckpointReader:
    """A step's checkpoint."""
    return CheckpointReader(run / f"checkpoints/step-{step:08d}")


@pytest.mark.slow
def test_a_first_step_that_fp16_skips_leaves_no_trace(test_data: Path, tmp_path: Path) -> None:
    """Step 1 overflows, step 2 is the first update: then the average is those weights, to the bit."""
    command = [python(), "-c", FIRST_STEP_OVERFLOWS, f"data.path={test_data}", "precision=fp16", *SMALL]
    result = subprocess.run(
        command, cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    second = checkpoint(tmp_path / "run", 2)
    assert second.manifest.training["counters"]["skipped_steps"] == 1
    for name in second.names():
        assert torch.equal(second.tensor(name, AVERAGE), second.tensor(name))
    assert not torch.equal(
        checkpoint(tmp_path / "run", 4).tensor("model.norm.weight", AVERAGE), second.tensor("model.norm.weight")
    )


def test_what_is_frozen_is_its_own_average_after_a_resume_too(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Two steps, and two more by the same command."""
    train = ("train", "test", f"data.path={test_data}", *SMALL, "train.freeze=[model.embed_tokens.weight]")
    assert clapas(*train, cwd=tmp_path).returncode == 0
    for step in (3, 4):
        for path in (tmp_path / f"run/checkpoints/step-{step:08d}").iterdir():
            path.unlink()
        (tmp_path / f"run/checkpoints/step-{step:08d}").rmdir()
    resumed = clapas(*train, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step 2" in resumed.stderr
    last = checkpoint(tmp_path / "run", 4)
    name = "model.embed_tokens.weight"
    weights = last.tensor(name)
    assert torch.equal(weights, checkpoint(tmp_path / "run", 1).tensor(name))
    kept = last.tensor(name, AVERAGE) if AVERAGE in last.manifest.parameters[name].states else weights
    assert torch.equal(kept, weights)
