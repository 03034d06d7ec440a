"""Exact resume: every ZeRO stage, precision and optimizer, and layouts whose state lies elsewhere."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines
from commands import Clapas, python_ranks

SMALL = (
    "train.steps=4",
    "schedule.warmup_steps=1",
    "checkpoint.every=2",
    "evaluation.every=100",
    "train.threads=1",
)
PLAIN = [
    f"parallel.zero_stage={stage} precision={precision} optimizer.name={optimizer}"
    for stage, precision, optimizer in product(range(4), ("fp32", "bf16"), ("adamw", "muon"))
]
"""The law's own cells."""


@pytest.mark.parametrize(
    ("ranks", "layout"),
    [
        (2, "parallel.zero_stage=1 parallel.offload=cpu precision=bf16"),
        (2, "parallel.zero_stage=3 parallel.offload=cpu parallel.offload_parameters=true"),
        pytest.param(2, "parallel.zero_stage=2 parallel.offload=cpu train.micro_batch_size=2", marks=pytest.mark.slow),
        pytest.param(4, "parallel.zero_stage=3 parallel.hpz=2 precision=bf16", marks=pytest.mark.slow),
        *(pytest.param(ranks, layout, marks=pytest.mark.slow) for ranks in (1, 2) for layout in PLAIN),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    clapas: Clapas, test_data: Path, tmp_path: Path, ranks: int, layout: str
) -> None:
    """Four steps in one go, and two plus two: equal rows, and checkpoints of equal bytes."""

    def train(name: str) -> None:
        arguments = ("train", "test", f"data.path={test_data}", f"run_dir={name}", *SMALL, *layout.split())
        result = clapas(*arguments, "--nproc", ranks, cwd=tmp_path)
        assert result.returncode == 0, result.stderr

    train("whole")
    last = stored(tmp_path / "whole")
    (tmp_path / "resumed/checkpoints").mkdir(parents=True)
    (tmp_path / "whole/checkpoints/step-00000002").rename(tmp_path / "resumed/checkpoints/step-00000002")
    train("resumed")
    assert rows(tmp_path / "resumed") == rows(tmp_path / "whole")[2:]
    assert stored(tmp_path / "resumed") == last


@pytest.mark.slow
def test_parameters_that_stay_whole_train_and_resume_alike(test_data: Path, tmp_path: Path) -> None:
    """At ZeRO-3, as on GPUs, where small parameters are gathered after a step and not before their use: equal bits."""

    def train(name: str, kept: int) -> None:
        script = (
            "from clapas.engine import deepspeed_config\n"
            f"deepspeed_config.PERSISTENT['cpu'] = {kept}\n"
            "from clapas.cli import main\n"
            "main()\n"
        )
        arguments = ["train", "test", f"data.path={test_data}", f"run_dir={name}", *SMALL, "parallel.zero_stage=3"]
        for ended in python_ranks(script, arguments, ranks=2, meeting=tmp_path / f"{name}.meeting"):
            assert ended.returncode == 0, ended.stderr

    train("none", kept=0)
    last = stored(tmp_path / "none")
    train("whole", kept=100_000)
    assert rows(tmp_path / "whole") == rows(tmp_path / "none")
    (tmp_path / "resumed/checkpoints").mkdir(parents=True)
    (tmp_path / "none/checkpoints/step-00000002").rename(tmp_path / "resumed/checkpoints/step-00000002")
    train("resumed", kept=100_000)
    assert rows(tmp_path / "resumed") == rows(tmp_path / "none")[2:]
    assert stored(tmp_path / "resumed") == last


def rows(run: Path) -> list[tuple[float, float]]:
    """(loss, gradient norm) of each step."""
    found = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]
    return [(row["loss"], row["grad_norm"]) for row in found]


def stored(run: Path) -> tuple[Any, ...]:
    """The files of the newest checkpoint with their hashes, and its counters."""
    manifest = CheckpointReader(find_checkpoint(run)).manifest
    return manifest.files, manifest.training


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_other_tensor_ranks(
    clapas: Clapas, test_data: Path, tmp_path: Path, first: int, then: int
) -> None:
    """Four steps on one number of tensor ranks; the last two again on another: equal losses and norms, to 1e-5."""

    def train(ranks: int) -> list[tuple[float, float]]:
        arguments = ("train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, f"parallel.tensor={ranks}")
        result = clapas(*arguments, "--nproc", ranks, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return rows(tmp_path / "run")

    whole = train(first)
    (tmp_path / "run/checkpoints/step-00000004").rename(tmp_path / "elsewhere")
    resumed = train(then)
    assert resumed[:2] == whole[:2]
    for row, wanted in zip(resumed[2:], whole[2:], strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)
