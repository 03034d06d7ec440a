"""Branches: a run that begins after another's checkpoint goes on exactly, and is known by what it began with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines, read_ledger, sum_ledger
from clapas.loader.audit import audit
from clapas.train.learning_rate import learning_rate
from clapas.train.run_folder import read_run_recipe
from commands import Clapas

SMALL = (
    "schedule.warmup_steps=1",
    "evaluation.every=100",
    "train.threads=1",
    "checkpoint.keep=9",
)
STEM = "stem/checkpoints/step-00000002"


def train(clapas: Clapas, folder: Path, data: Path, run: str, *overrides: object) -> str:
    """Train in folder/run; returns what it said."""
    result = clapas("train", "test", f"data.path={data}", f"run_dir={run}", *SMALL, *overrides, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def stem(clapas: Clapas, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps, `stem`, with a checkpoint at 2."""
    folder = tmp_path_factory.mktemp("stem")
    train(clapas, folder, test_data, "stem", "train.steps=4", "checkpoint.every=2", "schedule.name=constant")
    return folder


@pytest.fixture
def folder(stem: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(stem, tmp_path, dirs_exist_ok=True)
    return tmp_path


def rows(run: Path) -> list[tuple[int, float, float, float]]:
    """(step, loss, gradient norm, learning rate) of each step."""
    found = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]
    return [(row["step"], row["loss"], row["grad_norm"], row["learning_rate"]) for row in found]


def test_with_the_same_schedule_a_branch_is_the_run_itself(clapas: Clapas, test_data: Path, folder: Path) -> None:
    """Equal rows and equal bytes, in a run of another identity that tells where it began."""
    branch = ("train.steps=4", "checkpoint.every=2", "schedule.name=constant", f"branch.checkpoint={STEM}")
    train(clapas, folder, test_data, "branch", *branch)
    assert rows(folder / "branch") == rows(folder / "stem")[2:]
    ours, theirs = (CheckpointReader(find_checkpoint(folder / run)).manifest for run in ("branch", "stem"))
    assert (ours.files, ours.training) == (theirs.files, theirs.training)
    assert ours.identity != theirs.identity
    told = sum_ledger(read_ledger(folder / "branch")).branch
    assert told is not None
    assert (told["step"], told["run"], told["identity"]) == (2, "test", theirs.identity)


@pytest.mark.slow
def test_a_branch_decays_to_its_own_end_and_resumes_without_its_stem(
    clapas: Clapas, test_data: Path, folder: Path
) -> None:
    """Its rates are its schedule's. Killed by its length, extended by the same command with the stem gone."""
    branch = ("train.steps=5", "checkpoint.every=1", "schedule.name=linear", f"branch.checkpoint={STEM}")
    train(clapas, folder, test_data, "branch", *branch)
    recipe = read_run_recipe(folder / "branch")
    assert recipe.branch is not None
    assert recipe.branch.seal == (folder / STEM / "COMMITTED").read_text().strip()
    whole = rows(folder / "branch")
    assert [(step, rate) for step, _, _, rate in whole] == [(s, learning_rate(recipe, s)) for s in (3, 4, 5)]
    shutil.rmtree(folder / "branch/checkpoints/step-00000005")
    shutil.rmtree(folder / "stem")
    train(clapas, folder, test_data, "branch", *branch)
    assert rows(folder / "branch") == whole
    assert [event["step"] for event in read_ledger(folder / "branch") if event["event"] == "branch"] == [2]
    assert audit(folder / "branch", 4)


def test_what_cannot_branch_is_refused(clapas: Clapas, test_data: Path, folder: Path) -> None:
    """One message, exit 2, and no run begun."""

    def refused(*overrides: str) -> str:
        arguments = ("train", "test", f"data.path={test_data}", "run_dir=branch", *SMALL, *overrides)
        result = clapas(*arguments, cwd=folder)
        assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
        assert not (folder / "branch/recipe.yaml").exists()
        return result.stderr

    given = f"branch.checkpoint={STEM}"
    assert "more than the 2 that are done" in refused(given, "train.steps=2")
    model = refused(given, "model.hidden_size=128", "optimizer.name=lion", "optimizer.lr=3e-4")
    assert "model.hidden_size: 128" in model
    assert "optimizer.name: lion" in model
    assert "one of step-00000002, step-00000004 in stem/checkpoints" in refused("branch.checkpoint=stem")
    assert "not a committed checkpoint" in refused("branch.checkpoint=nowhere")
    other = refused(given, f"branch.seal={'ab' * 32}")
    assert "this is not the checkpoint that the branch begins with" in other


@pytest.mark.slow
def test_a_branch_is_its_checkpoint(clapas: Clapas, test_data: Path, folder: Path) -> None:
    """In one folder no other can be begun."""
    branch = ("train.steps=6", "schedule.name=constant")
    train(clapas, folder, test_data, "branch", *branch, f"branch.checkpoint={STEM}")
    arguments = ("train", "test", f"data.path={test_data}", "run_dir=branch", *SMALL, *branch)
    result = clapas(*arguments, f"branch.checkpoint={STEM.replace('2', '4')}", cwd=folder)
    assert result.returncode == 2
    assert "this folder holds another run" in result.stderr
    assert "branch.seal" in result.stderr


@pytest.mark.slow
def test_a_branch_may_begin_on_more_ranks(clapas: Clapas, test_data: Path, folder: Path) -> None:
    """And at another ZeRO stage: losses and norms are the run's own, to 1e-5."""
    branch = ("train.steps=4", "schedule.name=constant", f"branch.checkpoint={STEM}", "parallel.zero_stage=3")
    train(clapas, folder, test_data, "branch", *branch, "--nproc", 2)
    for ours, theirs in zip(rows(folder / "branch"), rows(folder / "stem")[2:], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
