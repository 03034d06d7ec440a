"""A checkpoint restored into another layout is the same state, bit for bit: masters, moments, step counts, frozen
parameters. No step is taken in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from commands import Clapas, python_ranks

FREEZE = "train.freeze=['model.layers.0.mlp.*', 'model.layers.1.input_layernorm.weight']"
RESTORE_AND_SAVE = """
import os
import sys
from pathlib import Path

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.checkpoint.saving import write_checkpoint
from clapas.engine.layout import layout_of
from clapas.engine.ranks import start_ranks, stop_ranks
from clapas.engine.state import capture, restore
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.freezing import Freezing
from clapas.train.train import build_engine

source, target, *overrides = sys.argv[1:]
recipe = read_recipe("test", overrides)
ranks = start_ranks()
ranks = ranks.arranged(layout_of(recipe, ranks.size))
engine = build_engine(recipe, ranks, [Freezing(recipe)])
reader = CheckpointReader(find_checkpoint(Path(source)))
restore(engine, reader)
snapshot, training = capture(engine)
facts = {key: getattr(reader.manifest, key) for key in ("step", "identity", "execution", "recipe", "versions")}
write_checkpoint(Path(target) / "checkpoints", snapshot, {**facts, "training": training}, ranks)
stop_ranks()
os._exit(0)  # as the command line ends (clapas.cli.main says why)
"""


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """Two steps of one rank, some parameters frozen."""
    folder = tmp_path_factory.mktemp("one_rank")
    short = ("train.steps=2", "schedule.warmup_steps=1", "evaluation.every=100", FREEZE)
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *short, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def restore_and_save(source: Path, target: Path, ranks: int, *overrides: str) -> None:
    """Restore a run's checkpoint on so many ranks and save it again, under `target`."""
    target.mkdir()
    arguments = [source, target, FREEZE, *overrides]
    for ended in python_ranks(RESTORE_AND_SAVE, arguments, ranks=ranks, meeting=target / "meeting"):
        assert ended.returncode == 0, ended.stderr


def assert_same_state(first: Path, second: Path) -> None:
    """Equal bits in every state of every parameter."""
    one, two = CheckpointReader(find_checkpoint(first)), CheckpointReader(find_checkpoint(second))
    assert one.manifest.parameters.keys() == two.manifest.parameters.keys()
    for name, record in one.manifest.parameters.items():
        other = two.manifest.parameters[name]
        assert (record.states, record.scalars) == (other.states, other.scalars), name
        for state in record.states:
            assert torch.equal(one.tensor(name, state), two.tensor(name, state)), f"{name}: {state}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        "parallel.tensor=2 parallel.zero_stage=0",
        "parallel.tensor=2 parallel.zero_stage=1",
        "parallel.tensor=2 parallel.zero_stage=3",
        "parallel.sequence=2 parallel.zero_stage=2",
        "parallel.zero_stage=3",
    ],
)
def test_there_and_back_nothing_changes(one_rank: Path, tmp_path: Path, layout: str) -> None:
    """From one rank to two in a layout, and back to one."""
    restore_and_save(one_rank, tmp_path / "there", 2, *layout.split())
    assert_same_state(one_rank, tmp_path / "there")
    restore_and_save(tmp_path / "there", tmp_path / "back", 1, "parallel.zero_stage=3")
    assert_same_state(one_rank, tmp_path / "back")


@pytest.mark.slow
def test_from_two_ranks_to_four_and_to_three_nothing_changes(one_rank: Path, tmp_path: Path) -> None:
    """Each time at another ZeRO stage."""
    restore_and_save(one_rank, tmp_path / "two", 2, "parallel.zero_stage=1")
    restore_and_save(tmp_path / "two", tmp_path / "four", 4, "parallel.zero_stage=3")
    restore_and_save(tmp_path / "four", tmp_path / "three", 3, "parallel.zero_stage=2", "train.global_batch_size=6")
    for name in ("two", "four", "three"):
        assert_same_state(one_rank, tmp_path / name)


def test_tensor_ranks_save_slices_and_gather_nothing(one_rank: Path, tmp_path: Path) -> None:
    """What is cut by input lies in two slices, one from each rank; what is whole is written once."""
    restore_and_save(one_rank, tmp_path / "there", 2, "parallel.tensor=2")
    parameters = CheckpointReader(find_checkpoint(tmp_path / "there")).manifest.parameters
    cut = parameters["model.layers.1.mlp.down_proj.weight"].fragments
    assert [fragment.part for fragment in cut] == [(1, 0, 80), (1, 80, 160)]
    assert len({fragment.file for fragment in cut}) == 2
    assert [fragment.part for fragment in parameters["model.norm.weight"].fragments] == [None]
    assert_same_state(one_rank, tmp_path / "there")
