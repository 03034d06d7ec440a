"""The examples run as they are, each as a stranger would start it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clapas.ledger.ledger import read_json_lines
from commands import clapas_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    "train.steps=8",
    "schedule.warmup_steps=2",
    "checkpoint.every=100",
    "evaluation.every=100",
)


def run(name: str, *overrides: str, cwd: Path) -> list[dict[str, Any]]:
    """Run an example; returns the rows of its run's steps."""
    command = [sys.executable, str(EXAMPLES / name), *SMALL, *overrides]
    result = subprocess.run(command, cwd=cwd, env=clapas_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (metrics,) = cwd.glob("runs/*/metrics.jsonl")
    return [row for row in read_json_lines(metrics) if "split" not in row]


def test_own_data(tmp_path: Path) -> None:
    """Documents made by a program become shards, and the model learns them."""
    rows = run("own_data.py", cwd=tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_own_callback(tmp_path: Path, test_data: Path) -> None:
    """Its column is in the metrics, and it stops the run before its last step."""
    rows = run("own_callback.py", f"data.path={test_data}", "train.steps=60", "optimizer.lr=1.0", cwd=tmp_path)
    assert rows[-1]["best_loss"] == min(row["loss"] for row in rows)
    assert rows[-1]["step"] < 60


@pytest.mark.parametrize("name", ["own_objective.py", "own_architecture.py"])
def test_own_objective_and_architecture(tmp_path: Path, test_data: Path, name: str) -> None:
    """They train."""
    rows = run(name, f"data.path={test_data}", cwd=tmp_path)
    assert rows[-1]["step"] == 8
    assert rows[-1]["loss"] < rows[0]["loss"]
