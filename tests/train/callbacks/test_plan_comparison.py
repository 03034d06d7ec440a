"""What was foretold and what was measured stand in the ledger, and `clapas plan --calibrate` takes them from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import read_ledger
from clapas.plan.plan import plan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.low_mfu import WARM_UP_STEPS
from clapas.train.callbacks.plan_comparison import FEWEST_STEPS
from commands import Clapas

TINY = ("data.sequence_length=16", "train.global_batch_size=1", f"train.steps={WARM_UP_STEPS + FEWEST_STEPS}")
"""Steps of 16 tokens: nearly all of their time is Python's, so they are far from any plan."""


def test_a_run_far_from_its_plan_says_so_and_calibrates(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """One line in the ledger, one on stderr with a cause; the plan for another run is slower by what was measured."""
    pace = ("evaluation.every=100", "checkpoint.every=100", "train.threads=1")
    done = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *TINY, *pace, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (event,) = [event for event in read_ledger(tmp_path / "run") if event["event"] == "plan"]
    assert event["device"] == "CPU"
    assert event["foretold_mfu"] > 0
    measured = event["tokens_per_second_per_gpu"] / event["foretold_tokens_per_second_per_gpu"]
    assert event["mfu"] / event["foretold_mfu"] == pytest.approx(measured)
    assert measured < 0.5
    assert "under half of the" in done.stderr
    assert "a micro-batch has 16 tokens" in done.stderr

    recipe = read_recipe("test")
    alone = plan(recipe, "local", 1)
    calibrated = plan(recipe, "local", 1, calibrate=tmp_path / "run")
    rates = [found["layouts"][0]["tokens_per_second_per_gpu"] for found in (alone, calibrated)]
    assert rates[1] / rates[0] == pytest.approx(measured)
    assert calibrated["calibrated"]["factor"] == pytest.approx(measured)
    with pytest.raises(UserError, match="measured on CPU, planned for H100"):
        plan(recipe, "jean-zay", 1, calibrate=tmp_path / "run")


def test_a_short_run_says_nothing(trained_run: Path) -> None:
    """20 steps are all warm-up: there is no line, and calibrating by it is refused with the way out."""
    assert not [event for event in read_ledger(trained_run) if event["event"] == "plan"]
    with pytest.raises(UserError, match="way out"):
        plan(read_recipe("test"), "local", 1, calibrate=trained_run)
