"""A run that crashes again and again at the same place is not started once more, until something has changed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from clapas.ledger.ledger import Ledger, read_ledger
from clapas.train.crash_loop import crashes
from commands import Clapas
from faults.faulty_runs import run_with_fault

HASHES = {"identity": "a", "execution": "b"}
RECIPE = (
    "train.steps=6",
    "schedule.warmup_steps=1",
    "checkpoint.every=2",
    "evaluation.every=100",
    "run_dir=run",
)


@pytest.mark.slow
def test_the_third_crash_at_a_step_is_the_last(test_data: Path, tmp_path: Path) -> None:
    """Two ranks killed each time before step 4, after the checkpoint of step 2, which the first of them brought."""
    kill = "step == 4 and os.kill(os.getpid(), signal.SIGKILL)"
    given = ("checkpoint={every: 2, asynchronous: false}",)
    for _ in range(4):
        first, _ = run_with_fault(tmp_path, test_data, *given, before_step=kill)
        assert first.returncode == -signal.SIGKILL
    refused = run_with_fault(tmp_path, test_data, *given, before_step=kill)
    assert [ended.returncode for ended in refused] == [2, 2]
    assert "a crash loop: 3 starts in a row from step 2" in refused[0].stderr
    assert "segment 002: killed" in refused[0].stderr
    assert "faults.crash_loop=4" in refused[0].stderr
    assert "crash loop" not in refused[1].stderr
    starts = [event["step"] for event in read_ledger(tmp_path / "run") if event["event"] == "segment_start"]
    assert starts == [0, 2, 2, 2]
    mended = run_with_fault(tmp_path, test_data, *given, "faults.crash_loop=4")
    assert [ended.returncode for ended in mended] == [0, 0], mended[0].stderr


@pytest.mark.slow
def test_a_failure_counts_and_says_why(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """A learning rate beyond all measure: the run diverges, and the next start trains nothing."""
    arguments = ("train", "test", f"data.path={test_data}", *RECIPE, "faults.crash_loop=1", "optimizer.lr=1e30")
    first = clapas(*arguments, cwd=tmp_path)
    assert first.returncode == 1
    assert "training diverged" in first.stderr
    again = clapas(*arguments, cwd=tmp_path)
    assert again.returncode == 2
    assert "a crash loop: 1 start in a row from step 0" in again.stderr
    assert "segment 001: run: training diverged at step" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.slow
def test_an_interrupted_run_is_no_crash(test_data: Path, tmp_path: Path) -> None:
    """Ctrl-C twice while a step is under way: exit 130, and the next start is not held back."""
    ask = "[os.kill(os.getpid(), signal.SIGINT) for _ in range(2 * (step == 2))]"
    (ended,) = run_with_fault(tmp_path, test_data, "faults.crash_loop=1", before_step=ask, ranks=1)
    assert ended.returncode == 130, ended.stderr
    assert [event["event"] for event in read_ledger(tmp_path / "run")] == ["segment_start", "interrupted"]
    (again,) = run_with_fault(tmp_path, test_data, "faults.crash_loop=1", ranks=1)
    assert again.returncode == 0, again.stderr


def start(ledger: Ledger, segment: int, step: int, **changed: str) -> None:
    """A segment begins."""
    ledger.append("segment_start", segment=segment, step=step, **{**HASHES, **changed})


def test_what_counts_as_a_crash(tmp_path: Path) -> None:
    """Only the last ones, from this very step, by this very recipe, which neither ended nor were interrupted."""
    assert crashes(tmp_path, HASHES, 0) == []
    ledger = Ledger(tmp_path)
    start(ledger, 1, 0)
    start(ledger, 2, 10)
    start(ledger, 3, 10, execution="another")
    start(ledger, 4, 10)
    ledger.append("interrupted", segment=4)
    start(ledger, 5, 10)
    start(ledger, 6, 10)
    ledger.append("failed", segment=6, error="no")
    assert [found["segment"] for found in crashes(tmp_path, HASHES, 10)] == [5, 6]
    assert crashes(tmp_path, HASHES, 12) == []
    assert crashes(tmp_path, {**HASHES, "execution": "another"}, 10) == []
    ledger.append("segment_end", segment=6)
    assert crashes(tmp_path, HASHES, 10) == []
