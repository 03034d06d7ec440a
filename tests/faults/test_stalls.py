"""A rank that hangs is found and named, and ends the run; one that is only slow is left alone."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from clapas.engine.flight_recorder import dump_collectives
from clapas.ledger.ledger import read_ledger
from clapas.train.stall import Sign, find_cause
from faults.faulty_runs import run_with_fault

STALL = "faults.stall_seconds=5"


def test_a_rank_that_hangs_is_named_with_the_line(tmp_path: Path, test_data: Path) -> None:
    """Rank 1 sleeps for days before step 3: it says so itself, and rank 0 ends with it instead of waiting."""
    hang = "step == 3 and RANK == 1 and time.sleep(10**6)"
    begin = time.monotonic()
    first, second = run_with_fault(tmp_path, test_data, STALL, before_step=hang)
    assert time.monotonic() - begin < 200
    assert (first.returncode, second.returncode) == (1, 1)
    assert "rank 1 stalled at step 3" in second.stderr
    assert "cause:   rank 1 itself" in second.stderr
    assert 'File "<string>", line 14 in before_step' in second.stderr
    kept = (tmp_path / "run/segments/001/stall-rank-1.txt").read_text()
    assert "rank 1 stalled at step 3" in kept
    assert "in before_step" in kept
    assert "rank 0 stalled" not in first.stderr or "cause:   rank 1" in first.stderr


@pytest.mark.slow
def test_a_rank_that_was_stopped_is_named_by_the_one_that_waits(tmp_path: Path, test_data: Path) -> None:
    """It cannot speak for itself: SIGSTOP stops its watchdog too."""
    stop = "step == 3 and RANK == 1 and os.kill(os.getpid(), signal.SIGSTOP)"
    first, second = run_with_fault(tmp_path, test_data, STALL, before_step=stop)
    assert (first.returncode, second.returncode) == (1, -9)
    assert "rank 0 stalled at step 3" in first.stderr
    assert "in 'communication'" in first.stderr
    assert "cause:   rank 1: no sign of life" in first.stderr
    (event,) = [event for event in read_ledger(tmp_path / "run") if event["event"] == "stalled"]
    assert (event["step"], event["ranks"]) == (3, [1])


@pytest.mark.slow
def test_a_call_of_c_that_holds_the_interpreter_ends_too(tmp_path: Path, test_data: Path) -> None:
    """As a page fault in a mapped file does, on a file system that hangs: no thread of Python runs any more."""
    hang = "step == 3 and ctypes.PyDLL(None).sleep(10**6)"
    (alone,) = run_with_fault(tmp_path, test_data, STALL, before_step=hang, ranks=1)
    assert alone.returncode == 1
    assert "in before_step" in alone.stderr


@pytest.mark.slow
def test_whoever_waits_for_a_slow_rank_is_not_stalled(tmp_path: Path, test_data: Path) -> None:
    """Rank 0 takes twice as long as a stall, in pieces, as one that writes a large checkpoint does."""
    slow = "any(run.heart.beat() or time.sleep(0.25) for _ in range(40 * (step == 3 and RANK == 0)))"
    for ended in run_with_fault(tmp_path, test_data, STALL, before_step=slow):
        assert ended.returncode == 0, ended.stderr
        assert "stalled" not in ended.stderr


@pytest.mark.slow
def test_no_watchdog_where_none_is_wanted(tmp_path: Path, test_data: Path) -> None:
    """No file of it, no event."""
    (alone,) = run_with_fault(tmp_path, test_data, "faults.stall_seconds=null", "train.steps=2", ranks=1)
    assert alone.returncode == 0, alone.stderr
    assert not (tmp_path / "run/segments/001/heartbeats").exists()


def test_the_recorders_dump_is_what_torchs_tool_reads(tmp_path: Path) -> None:
    """Without NCCL there are no entries in it: with them, tests/gpu/test_stalls.py."""
    assert dump_collectives(tmp_path / "nccl-trace-0")
    assert {"version", "entries"} <= pickle.loads((tmp_path / "nccl-trace-0").read_bytes()).keys()


def sign(number: int, beats: int, waits: bool) -> Sign:
    """Of a rank in the backward of step 7."""
    return Sign(number, beats, 7, "backward", waits, 1.0)


@pytest.mark.parametrize(
    ("now", "ranks", "words"),
    [
        ({1: sign(9, 50, True), 2: sign(4, 80, True)}, [2], "no sign of life"),
        ({1: sign(9, 50, True)}, [2], "no sign of life"),
        ({1: sign(9, 50, True), 2: sign(9, 80, False)}, [2], "does not get on"),
        ({1: sign(9, 50, True), 2: sign(9, 80, True)}, [], "every rank waits for another"),
    ],
)
def test_who_is_the_cause(now: dict[int, Sign], ranks: list[int], words: str) -> None:
    """Seen by rank 0, which waits."""
    cause = find_cause([1, 2], {1: sign(4, 50, True), 2: sign(4, 80, True)}, now)
    assert cause is not None
    assert list(cause.ranks) == ranks
    assert words in cause.why


def test_nobody_is_the_cause_while_one_gets_on() -> None:
    """Also where the other waits for it."""
    before = {1: sign(4, 50, True), 2: sign(4, 80, False)}
    assert find_cause([1, 2], before, {1: sign(9, 50, True), 2: sign(9, 81, False)}) is None
