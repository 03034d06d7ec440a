"""Signals at the moments that hurt most, in real runs of two ranks: the same command goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.train.run_folder import read_outcome
from commands import python_ranks
from faults.runs import SMALL, finish, rows, start

STEPS = ("train.steps=6", "checkpoint.every=2")
KILLED = """
import os
import signal

import clapas.checkpoint.saving as saving
import clapas.checkpoint.tensor_file as tensor_file
import clapas.checkpoint.writer as writer
import clapas.train.callbacks.checkpointing as checkpointing
import clapas.train.loop as loop
from clapas.cli import main

victim, moment = VICTIM, MOMENT
where = {
    "in a step": (loop, "learning_rate", 5),
    "while copying": (checkpointing, "capture", 2),
    "while writing": (tensor_file, "_write_all", {"0": 25, "1": 90}[os.environ["RANK"]]),  # 18 and 60 a checkpoint
    "between the last shard and the commit": (saving, "commit", 2),
    "between the seal and the rename": (writer, "sync_folder", 3),
}
module, name, count = where[moment]
original, calls = getattr(module, name), 0


def watched(*arguments, **named):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)


if victim in ("all", os.environ["RANK"]):
    setattr(module, name, watched)
main()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Path:
    """A run that is left alone."""
    folder = tmp_path_factory.mktemp("alone")
    code, errors = finish(start(folder, test_data, *STEPS, nproc=2))
    assert code == 0, errors
    return folder


@pytest.mark.parametrize(
    ("victim", "moment", "left"),
    [
        pytest.param("1", "in a step", 4, marks=pytest.mark.slow),
        pytest.param("1", "while copying", 2, marks=pytest.mark.slow),
        ("1", "while writing", 2),
        pytest.param("0", "between the last shard and the commit", 2, marks=pytest.mark.slow),
        pytest.param("0", "between the seal and the rename", 2, marks=pytest.mark.slow),
        pytest.param("all", "in a step", 4, marks=pytest.mark.slow),
        pytest.param("all", "while writing", 2, marks=pytest.mark.slow),
    ],
)
def test_a_kill_costs_no_more_than_the_steps_since_the_last_commit(
    alone: Path, tmp_path: Path, test_data: Path, victim: str, moment: str, left: int
) -> None:
    """left: the newest checkpoint afterwards, at most. The run then ends with the rows and state of one left alone."""
    script = KILLED.replace("VICTIM", repr(victim)).replace("MOMENT", repr(moment))
    arguments = ["train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, *STEPS]
    ended = python_ranks(script, arguments, ranks=2, meeting=tmp_path / "meeting")
    codes = [process.returncode for process in ended]
    assert -9 in codes, ended
    assert 0 not in codes, "a rank whose peer is gone cannot have ended well"
    steps = [CheckpointReader(path).step for path in committed_checkpoints(tmp_path / "run/checkpoints")]
    assert steps, "nothing is left"
    assert max(steps) <= left
    code, errors = finish(start(tmp_path, test_data, *STEPS, nproc=2))
    assert code == 0, errors
    assert rows(tmp_path) == rows(alone)
    one, two = (CheckpointReader(find_checkpoint(folder / "run")).manifest for folder in (tmp_path, alone))
    assert (one.files, one.training) == (two.files, two.training)
    assert not list((tmp_path / "run/checkpoints").glob(".*")), "what killed writers left is swept away"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "moment", "times"),
    [
        ("1", "while writing", 1),
        ("0", "between the last shard and the commit", 2),
        ("1", "in a step", 2),
    ],
)
def test_a_signal_to_one_rank_stops_all_after_a_save(
    alone: Path, tmp_path: Path, test_data: Path, victim: str, moment: str, times: int
) -> None:
    """SIGTERM during a save, or twice: both ranks stop after the same step, saved, and the run then goes on."""
    script = KILLED.replace("VICTIM", repr(victim)).replace("MOMENT", repr(moment))
    script = script.replace(
        "os.kill(os.getpid(), signal.SIGKILL)", f"[os.kill(os.getpid(), 15) for _ in range({times})]"
    )
    arguments = ["train", "test", f"data.path={test_data}", "run_dir=run", *SMALL, *STEPS]
    ended = python_ranks(script, arguments, ranks=2, meeting=tmp_path / "meeting")
    codes = [process.returncode for process in ended]
    outcome = read_outcome(tmp_path / "run")
    assert outcome is not None
    assert codes in ([75, 75], [0, 0]), ended  # 0: it came during the last step
    assert CheckpointReader(find_checkpoint(tmp_path / "run")).step == outcome["step"]
    code, errors = finish(start(tmp_path, test_data, *STEPS, nproc=2))
    assert code == 0, errors
    assert rows(tmp_path) == rows(alone)
    assert not list((tmp_path / "run/checkpoints").glob(".*"))
