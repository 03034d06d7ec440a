"""Data that make a run diverge: an update left out, or a run that goes back, leaves no trace of them and no doubt."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.loader.audit import audit, documents_of_step
from clapas.loader.loader import Loader
from clapas.loader.plan import DataPlan
from clapas.recipe.recipe import read_recipe
from clapas.train.run_folder import read_outcome, read_run_recipe
from commands import python_ranks
from faults.runs import SMALL, rows

STEPS = ("train.steps=8", "checkpoint.every=2", "checkpoint.keep=9")
POISONED = """
import os
import signal
import sys
import zlib

import torch

import clapas.cli.training
import clapas.train.segments as segments
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.base import Callback
from clapas.train.objective import language_modelling
from clapas.train.train import train

poison, factor, deadly_segment = set(POISON), FACTOR, DEADLY_SEGMENT


def objective(model, batch):
    loss, losses_B = language_modelling(model, batch)
    samples = [zlib.crc32(sample.numpy().tobytes()) for sample in batch.tokens.cpu()]
    factors_B = torch.tensor([factor if not poison or sample in poison else 1.0 for sample in samples])
    return loss * factors_B.max(), losses_B * factors_B


class Killer(Callback):
    def before_step(self, run):
        if deadly_segment and len(run.plan.left_out) == deadly_segment and run.step == run.plan.left_out[-1][0]:
            os.kill(os.getpid(), signal.SIGKILL)


class LowestScale(Callback):  # where an overflow of fp16 ends a run, and a spike must not
    def on_start(self, run):
        if run.engine.loss_scale:
            run.engine.loss_scale.restore({**run.engine.loss_scale.state, "cur_scale": 1.0})


def poisoned(options):
    callbacks = [Killer(), LowestScale()] if LOWEST_SCALE else [Killer()]
    return train(read_recipe(options.recipe, options.overrides), callbacks=callbacks, objective=objective)


clapas.cli.training._train = poisoned
clapas.cli.main(["train", "test", *sys.argv[1:]])
"""
NAN, LARGE = "float('nan')", "1000.0"


def train(
    folder: Path,
    data: Path,
    *overrides: str,
    steps: tuple[int, ...] = (),
    factor: str = NAN,
    ranks: int = 1,
    killed_after: int = 0,
    lowest_scale: bool = False,
) -> list[tuple[int, str]]:
    """Train in folder/run on data where one sample of each of these steps has its loss multiplied (none: all samples).

    killed_after: so many rollbacks, in the second step of what follows. lowest_scale: fp16's loss scale begins at 1.
    Returns (exit code, stderr) of each rank.
    """
    poison = [samples_of(data, step)[0] for step in steps]
    script = POISONED.replace("POISON", repr(poison)).replace("FACTOR", factor)
    arguments = [f"data.path={data}", "run_dir=run", *SMALL, *STEPS, *overrides]
    script = script.replace("DEADLY_SEGMENT", str(killed_after)).replace("LOWEST_SCALE", repr(lowest_scale))
    (folder / "meeting").unlink(missing_ok=True)
    ended = python_ranks(script, arguments, ranks=ranks, meeting=folder / "meeting")
    return [(process.returncode, process.stderr) for process in ended]


def samples_of(data: Path, step: int) -> list[int]:
    """What names each sample of a step of the recipe `test`."""
    recipe = read_recipe("test", [f"data.path={data}"])
    with Loader.from_recipe(recipe, start_step=step) as loader:
        (batch,) = next(loader.steps())
    return [zlib.crc32(sample.numpy().tobytes()) for sample in batch.tokens]


def spikes(folder: Path) -> list[dict[str, Any]]:
    """The ledger's spikes."""
    return [event for event in read_ledger(folder / "run") if event["event"] == "spike"]


def weights_and_moments(checkpoint: Path) -> dict[str, Any]:
    """Every state of every parameter, as bytes."""
    reader = CheckpointReader(checkpoint)
    return {
        f"{name} {state}": reader.tensor(name, state).numpy().tobytes()
        for name, record in reader.manifest.parameters.items()
        for state in record.states
    }


def slow(*cell: object) -> Any:
    """A cell of a matrix that is for the slow tests."""
    return pytest.param(*cell, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("ranks", "layout", "factor"),
    [
        (1, "parallel.zero_stage=1", LARGE),
        *(slow(1, f"parallel.zero_stage={stage}", LARGE) for stage in (0, 2, 3)),
        *(slow(2, f"parallel.zero_stage={stage} precision=bf16", LARGE) for stage in (0, 3)),
        slow(2, "parallel.zero_stage=3 parallel.offload=cpu", LARGE),
        slow(2, "parallel.zero_stage=2 optimizer.name=muon train.micro_batch_size=2", LARGE),
        slow(1, "parallel.zero_stage=1 optimizer.ema_decay=0.9", LARGE),
        *(slow(1, f"parallel.zero_stage={stage} precision=fp16", LARGE) for stage in (0, 1)),
        slow(1, "parallel.zero_stage=0", NAN),
        slow(1, "parallel.zero_stage=3 precision=bf16", NAN),
    ],
)
def test_a_skipped_update_changes_nothing(
    tmp_path: Path, test_data: Path, ranks: int, layout: str, factor: str
) -> None:
    """Weights and moments are, bit for bit, those before the step; the run says so and goes on to its end."""
    spike = ("faults.spike.action=skip", "faults.spike.window=8", "checkpoint.every=1")
    chosen = {"steps": (6,), "factor": factor, "ranks": ranks, "lowest_scale": True}
    ended = train(tmp_path, test_data, *layout.split(), *spike, **chosen)
    assert [code for code, _ in ended] == [0] * ranks, ended
    (event,) = spikes(tmp_path)
    assert (event["step"], event["action"]) == (6, "skip")
    assert f"step 6: {event['fault']}: update left out" in ended[0][1]
    before, after, then = (weights_and_moments(tmp_path / f"run/checkpoints/step-0000000{step}") for step in (5, 6, 7))
    assert after == before
    assert then != before
    logged = {step: (loss, norm) for step, loss, norm in rows(tmp_path)}
    assert (6 in logged) == (factor == LARGE)
    assert logged.keys() >= {1, 2, 3, 4, 5, 7, 8}
    assert sum_ledger(read_ledger(tmp_path / "run")).skipped_updates == 1


@pytest.mark.parametrize(
    ("ranks", "layout"),
    [
        (1, "parallel.zero_stage=1"),
        slow(2, "parallel.zero_stage=1"),
        slow(1, "parallel.zero_stage=0"),
        slow(2, "parallel.zero_stage=3 precision=bf16"),
        slow(2, "parallel.zero_stage=3 parallel.offload=cpu"),
        slow(2, "parallel.zero_stage=2 optimizer.name=muon train.micro_batch_size=2"),
        slow(1, "parallel.zero_stage=1 optimizer.ema_decay=0.9"),
        slow(1, "parallel.zero_stage=1 precision=fp16"),
    ],
)
def test_a_run_that_goes_back_goes_as_one_that_begins_again(
    tmp_path: Path, test_data: Path, ranks: int, layout: str
) -> None:
    """NaN in step 6: back to step 4. Killed one step later and started again: equal rows, checkpoints of equal bytes.

    Its last steps read what comes after the window, and what it read can be asked afterwards.
    """
    ends = {}
    overrides = (*layout.split(), "faults.spike.action=rollback")
    for name, killed_after in (("whole", 0), ("killed", 1)):
        folder = tmp_path / name
        folder.mkdir()
        ended = train(folder, test_data, *overrides, steps=(6,), ranks=ranks, killed_after=killed_after)
        if killed_after:
            assert all(code != 0 for code, _ in ended)
            assert committed_checkpoints(folder / "run/checkpoints")[-1].name == "step-00000004"
            ended = train(folder, test_data, *overrides, steps=(6,), ranks=ranks)
        assert [code for code, _ in ended] == [0] * ranks, ended
        manifest = CheckpointReader(find_checkpoint(folder / "run")).manifest
        ends[name] = (rows(folder), manifest.files, manifest.training)
    assert ends["whole"] == ends["killed"]
    (event,) = spikes(tmp_path / "whole")
    assert (event["action"], event["to_step"]) == ("rollback", 4)
    assert event["left_out"] == {"steps": [5, 6], "samples": [32, 48]}
    assert ends["whole"][2]["loader"] == {"next_index": 80, "skipped": [{"steps": [5, 6], "samples": [32, 48]}]}
    run = tmp_path / "whole/run"
    plan = DataPlan.of_recipe(read_run_recipe(run))
    assert audit(run, 4) == documents_of_step(plan, 4)
    assert audit(run, 5) == documents_of_step(plan, 7)
    assert read_outcome(run) == {"exit_code": 0, "reason": "done", "step": 8, "segment": 2}
    totals = sum_ledger(read_ledger(run))
    assert (totals.segments, totals.restarts, totals.rollbacks, totals.steps) == (2, 0, 1, 8)


@pytest.mark.slow
def test_an_older_checkpoint_leads_the_same_way_again(tmp_path: Path, test_data: Path) -> None:
    """Three rollbacks. Then all but the first checkpoint are lost: the run comes to the same end."""
    spike = ("faults.spike.action=rollback", "parallel.zero_stage=1")
    assert train(tmp_path, test_data, *spike, steps=(4, 8, 9))[0][0] == 0
    wanted = [(event["step"], event["to_step"]) for event in spikes(tmp_path)]
    assert wanted == [(4, 2), (6, 4), (5, 4)]  # by then 6 reads what 8 would have read, and the second time 5 reads 9
    run = tmp_path / "run"
    end = rows(tmp_path), CheckpointReader(find_checkpoint(run)).manifest.files
    for checkpoint in committed_checkpoints(run / "checkpoints")[1:]:
        shutil.rmtree(checkpoint)
    assert train(tmp_path, test_data, *spike, steps=(4, 8, 9))[0][0] == 0
    assert (rows(tmp_path), CheckpointReader(find_checkpoint(run)).manifest.files) == end


@pytest.mark.slow
def test_before_the_first_checkpoint_a_rollback_skips(tmp_path: Path, test_data: Path) -> None:
    """There is nothing to go back to."""
    ((code, errors),) = train(tmp_path, test_data, "faults.spike.action=rollback", steps=(2,))
    assert code == 0, errors
    assert [(event["step"], event["action"]) for event in spikes(tmp_path)] == [(2, "skip")]


@pytest.mark.parametrize("action", ["skip", pytest.param("rollback", marks=pytest.mark.slow)])
def test_a_run_that_only_spikes_gives_up(tmp_path: Path, test_data: Path, action: str) -> None:
    """Every loss is NaN: after two actions it ends with one message, also where the command is given again."""
    spike = (f"faults.spike.action={action}", "faults.spike.retries=2")
    for _ in range(2):
        ((code, errors),) = train(tmp_path, test_data, *spike)
        assert code == 1
        assert "training diverged at step 3" in errors
        assert "loss nan, after 2 spikes that were acted upon" in errors
        assert "Traceback" not in errors
    assert len(spikes(tmp_path)) == 4


@pytest.mark.slow
def test_rollbacks_are_counted_over_starts(tmp_path: Path, test_data: Path) -> None:
    """All is well until step 4; from then on NaN. A start after the end has no rollback left."""
    spike = ("faults.spike.action=rollback", "faults.spike.retries=2")
    assert train(tmp_path, test_data, "train.steps=4", "schedule.name=constant", steps=(5,))[0][0] == 0
    given = ("schedule.name=constant", *spike)
    for starts in (1, 2):
        ((code, errors),) = train(tmp_path, test_data, *given)
        assert code == 1
        assert "after 2 spikes that were acted upon" in errors
        assert [event["to_step"] for event in spikes(tmp_path)] == [4, 4], starts
