"""fp16 with its loss scale, and gradients that are not finite, at every ZeRO stage."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines
from commands import Clapas, clapas_environment, python, python_ranks

SCRIPT = """
import sys
import clapas
from clapas.recipe.errors import ClapasError
from clapas.train.objective import language_modelling

factor, *overrides = sys.argv[1:]

def objective(engine, batch):
    total, losses = language_modelling(engine, batch)
    return (total * float(factor) if engine.deepspeed.global_steps == 1 else total), losses

try:
    clapas.train(clapas.read_recipe("test", overrides), objective=objective)
except ClapasError as error:
    sys.exit(str(error))
"""
"""Trains the test recipe; the second step's gradient is multiplied by a factor."""
SMALL = (
    "train.steps=6",
    "schedule.warmup_steps=2",
    "checkpoint.every=3",
    "evaluation.every=100",
    "train.threads=1",
)
OVERFLOWS = "1e9"


@pytest.fixture(scope="module")
def first_row(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> dict[str, Any]:
    """The first step in fp32."""
    folder = tmp_path_factory.mktemp("fp32")
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, cwd=folder)
    assert result.returncode == 0, result.stderr
    return rows(folder / "run")[0]


@pytest.fixture
def train(tmp_path: Path, test_data: Path) -> Any:
    """Train in tmp_path with the second gradient multiplied; returns the finished process."""

    def run(name: str, factor: str, *more: str) -> subprocess.CompletedProcess[str]:
        arguments = [factor, f"data.path={test_data}", f"run_dir={name}", *SMALL, *more]
        return subprocess.run(
            [python(), "-c", SCRIPT, *arguments],
            cwd=tmp_path, env=clapas_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that tell of a step."""
    return [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 3])
def test_an_fp16_overflow_skips_the_step_halves_the_scale_and_training_goes_on(
    train: Any, tmp_path: Path, first_row: dict[str, Any], zero_stage: int
) -> None:
    """Step 2 overflows; the first step's loss and unscaled gradient norm are fp32's, and the loss goes down."""
    result = train("run", OVERFLOWS, "precision=fp16", f"parallel.zero_stage={zero_stage}")
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "run")
    assert [row["loss_scale"] for row in found] == [65536.0] + [32768.0] * 5
    assert [row["grad_norm"] is None for row in found] == [False, True, False, False, False, False]
    for column in ("loss", "grad_norm"):
        assert found[0][column] == pytest.approx(first_row[column], rel=5e-3)
    assert found[-1]["loss"] < found[0]["loss"]
    counters = CheckpointReader(find_checkpoint(tmp_path / "run")).manifest.training["counters"]
    assert (counters["global_steps"], counters["skipped_steps"]) == (6, 1)


@pytest.mark.slow
def test_a_resume_goes_on_with_the_loss_scale(train: Any, tmp_path: Path) -> None:
    """Six steps in one go and three plus three, the second skipped: the same rows, scale and counters."""
    assert train("whole", OVERFLOWS, "precision=fp16").returncode == 0
    resumed = tmp_path / "resumed"
    (resumed / "checkpoints").mkdir(parents=True)
    (tmp_path / "whole/checkpoints/step-00000003").rename(resumed / "checkpoints/step-00000003")
    assert train("resumed", "1", "precision=fp16").returncode == 0
    columns = ("step", "loss", "grad_norm", "loss_scale", "learning_rate")
    ends = [[[row[name] for name in columns] for row in rows(tmp_path / name)[-3:]] for name in ("whole", "resumed")]
    assert ends[0] == ends[1]
    one, two = (CheckpointReader(find_checkpoint(tmp_path / name)).manifest.training for name in ("whole", "resumed"))
    assert one == two
    assert one["loss_scale"]["cur_scale"] == 32768


@pytest.mark.parametrize(
    ("zero_stage", "precision"),
    [
        (0, "fp32"),
        (1, "bf16"),
        *(pytest.param(*cell, marks=pytest.mark.slow) for cell in ((0, "bf16"), (2, "fp32"), (3, "bf16"))),
    ],
)
def test_a_gradient_that_is_not_a_number_ends_the_run_at_its_step(
    train: Any, tmp_path: Path, zero_stage: int, precision: str
) -> None:
    """Also in a step that is not logged; DeepSpeed itself goes on without a word (#8415)."""
    layout = (f"precision={precision}", f"parallel.zero_stage={zero_stage}", "telemetry.log_every=6")
    result = train("run", "nan", *layout)
    assert result.returncode == 1
    assert "training diverged at step 2" in result.stderr
    assert "Traceback" not in result.stderr


def test_gradients_that_overflow_at_any_scale_end_the_run(train: Any) -> None:
    """The scale is halved down to 1; then it is said."""
    result = train("run", "1", "precision=fp16", "train.steps=60", "optimizer.lr=1e4", "optimizer.gradient_clipping=0")
    assert result.returncode == 1, result.stderr
    assert "training diverged" in result.stderr or "overflow fp16 even at a loss scale of 1" in result.stderr


WATCH = """
import sys
import clapas
import torch

seen = set()

class Watch(clapas.Callback):
    def on_start(self, run):
        import deepspeed.comm.comm as comm
        for name in ("all_reduce", "reduce", "reduce_scatter_tensor", "reduce_scatter"):
            setattr(comm.cdb, name, watched(getattr(comm.cdb, name)))

def watched(collective):
    def call(*arguments, **named):
        tensors = [value for value in [*arguments, *named.values()] if isinstance(value, torch.Tensor)]
        seen.update(str(tensor.dtype) for tensor in tensors if tensor.numel() > 1000)  # no norms, no flags
        return collective(*arguments, **named)
    return call

clapas.train(clapas.read_recipe("test", sys.argv[1:]), callbacks=[Watch()])
sys.stdout.write("".join(f"{dtype}\\n" for dtype in sorted(seen)))  # at once: two ranks write here
"""
"""Trains, and prints the dtypes of all that was summed over the ranks."""


@pytest.mark.parametrize(
    ("reduce", "zero_stage"),
    [
        ("fp32", 3),
        *(
            pytest.param(*cell, marks=pytest.mark.slow)
            for cell in (("fp32", 0), ("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 3))
        ),
    ],
)
def test_gradients_are_summed_over_ranks_in_the_precision_asked_for(
    tmp_path: Path, test_data: Path, reduce: str, zero_stage: int
) -> None:
    """Of a bf16 run on two ranks: every tensor that the ranks add up. DeepSpeed's own default is bf16."""
    layout = [f"parallel.zero_stage={zero_stage}", f"parallel.reduce_precision={reduce}", "precision=bf16"]
    arguments = [f"data.path={test_data}", "run_dir=run", *SMALL, "train.steps=3", *layout]
    for ended in python_ranks(WATCH, arguments, ranks=2, meeting=tmp_path / "meeting"):
        assert ended.returncode == 0, ended.stderr
        assert set(ended.stdout.split()) == {{"fp32": "torch.float32", "bf16": "torch.bfloat16"}[reduce]}
