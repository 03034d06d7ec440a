"""Stages and a batch ramp in real runs: exact over every border, however the run was stopped, resumed or lengthened."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines, read_ledger, sum_ledger
from clapas.loader.loader import Loader
from clapas.recipe.recipe import read_recipe
from commands import Clapas

STAGES = (
    "[{steps: 4}, "
    "{steps: 2, sequence_length: 64, global_batch_size: 12, micro_batch_size: 3}, "
    "{name: last, steps: 2, mixture: {fiches-travail: 1}, lr: 1e-3, schedule: {name: linear, warmup_steps: 1}}]"
)
"""Steps 1-2 of 4 samples, 3-4 of 8, 5-6 of 12 shorter ones, 7-8 of 8 again."""
STAGED = ("train.steps=null", f"stages={STAGES}", "train.batch_ramp={2: 4}", "train.micro_batch_size=2")
TOKENS = [512, 1024, 2048, 3072, 3840, 4608, 5632, 6656]
OFTEN = (
    "schedule.warmup_steps=2",
    "checkpoint.every=1",
    "checkpoint.keep=20",
    "evaluation.every=100",
)


def steps(run: Path) -> list[dict[str, Any]]:
    """The rows of logged steps, without what depends on the clock."""
    rows = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]
    return [{key: row[key] for key in ("step", "loss", "grad_norm", "learning_rate", "tokens")} for row in rows]


def same_state(first: Path, second: Path) -> bool:
    """Whether two checkpoints hold equal bits and counters."""
    one, two = CheckpointReader(first), CheckpointReader(second)
    names = one.names()
    assert names == two.names()
    states = [(name, state) for name in names for state in one.manifest.parameters[name].states]
    equal = all(torch.equal(one.tensor(*state), two.tensor(*state)) for state in states)
    return equal and one.manifest.training == two.manifest.training


@pytest.fixture
def train(tmp_path: Path, clapas: Clapas, test_data: Path) -> Any:
    """Train the test recipe in tmp_path; returns the finished process."""

    def run(name: str, *more: str, nproc: int = 1) -> subprocess.CompletedProcess[str]:
        overrides = (f"data.path={test_data}", f"run_dir={name}", *OFTEN, *more)
        return clapas("train", "test", *overrides, "--nproc", nproc, cwd=tmp_path)

    return run


def go_on_from(tmp_path: Path, step: int, name: str) -> Path:
    """A run's folder with the checkpoint that the run `whole` left at a step, as if it had been killed then."""
    (tmp_path / name / "checkpoints").mkdir(parents=True)
    folder = f"checkpoints/step-{step:08d}"
    (tmp_path / "whole" / folder).rename(tmp_path / name / folder)
    return tmp_path / name


@pytest.mark.parametrize(
    ("zero_stage", "nproc"),
    [(1, 1), *(pytest.param(stage, nproc, marks=pytest.mark.slow) for stage, nproc in ((1, 2), (3, 1), (3, 2)))],
)
def test_a_resume_is_exact_over_every_border(train: Any, tmp_path: Path, zero_stage: int, nproc: int) -> None:
    """Stopped within the ramp and within the second stage: losses, weights and counters are equal bits."""
    layout = f"parallel.zero_stage={zero_stage}"
    whole = train("whole", *STAGED, layout, nproc=nproc)
    assert whole.returncode == 0, whole.stderr
    rows = steps(tmp_path / "whole")
    assert [row["tokens"] for row in rows] == TOKENS
    named = [row["stage"] for row in read_json_lines(tmp_path / "whole/metrics.jsonl") if "stage" in row]
    assert named == ["1", "1", "1", "1", "2", "2", "last", "last"]
    newest = committed_checkpoints(tmp_path / "whole/checkpoints")[-1]
    for stopped in (1, 5):
        resumed = go_on_from(tmp_path, stopped, f"from-{stopped}")
        again = train(resumed.name, *STAGED, layout, nproc=nproc)
        assert again.returncode == 0, again.stderr
        assert steps(resumed) == rows[stopped:]
        assert same_state(newest, find_checkpoint(resumed))
    assert CheckpointReader(newest).manifest.training["loader"]["next_index"] == 2 * 4 + 2 * 8 + 2 * 12 + 2 * 8


def test_ranks_and_micro_batches_change_nothing_over_borders(train: Any, tmp_path: Path) -> None:
    """Whole shares on one rank, micro-batches on two at ZeRO-2: losses and gradient norms to 1e-5 in fp32."""
    layouts = {"one": (1, "train.micro_batch_size=null"), "two": (2, "parallel.zero_stage=2")}
    for name, (nproc, *overrides) in layouts.items():
        result = train(name, *STAGED, *overrides, nproc=nproc)
        assert result.returncode == 0, result.stderr
    for row, wanted in zip(steps(tmp_path / "two"), steps(tmp_path / "one"), strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-5)
        assert row["tokens"] == wanted["tokens"]


def test_a_finished_run_may_be_annealed(train: Any, tmp_path: Path, test_data: Path, clapas: Clapas) -> None:
    """A stage with a schedule of its own goes on after the last step; one that changes the past is refused."""
    assert train("run", "train.steps=4").returncode == 0
    before = steps(tmp_path / "run")
    refused = train("run", "train.steps=null", "stages=[{steps: 4}, {steps: 2}]")
    assert refused.returncode == 2
    assert "stages[1].steps: 2 (was None)" in refused.stderr
    assert "a stage with a `schedule` of its own may be added" in refused.stderr
    annealing = (
        "train.steps=null",
        "stages=[{steps: 4}, {name: anneal, tokens: 1500, mixture: {fiches-travail: 1}, lr: 1e-3, "
        "schedule: {name: linear, min_lr_ratio: 0}}]",
    )
    result = train("run", *annealing)
    assert result.returncode == 0, result.stderr
    rows = steps(tmp_path / "run")
    assert rows[:4] == before
    assert [row["learning_rate"] for row in rows[4:]] == [5e-4, 0.0]
    totals = sum_ledger(read_ledger(tmp_path / "run"))
    assert (totals.steps, totals.tokens, totals.segments) == (6, 6 * 1024, 2)
    recipe = read_recipe("test", [f"data.path={test_data}", *OFTEN, *annealing])
    with Loader.from_recipe(recipe, start_step=5) as loader:
        (batch,) = next(loader.steps())
    told = clapas("audit", "run", "--step", 5, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert {row["sample"] for row in found} == set(range(32, 40))
    assert sum(row["last"] - row["first"] + 1 for row in found) == batch.target_count + 8


def test_a_ramp_that_ranks_cannot_share_is_refused(train: Any, tmp_path: Path) -> None:
    """Every phase is looked at before anything starts, and the message names the one."""
    refused = train("run", "train.batch_ramp={3: 5}", nproc=2)
    assert refused.returncode == 2
    assert "train.batch_ramp.3 cannot be shared equally" in refused.stderr
    assert "5 samples on 2 ranks" in refused.stderr
    assert not (tmp_path / "run").exists()
