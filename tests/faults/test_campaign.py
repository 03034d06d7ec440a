"""A little of the campaign at every run of the tests; `campaign.py` itself goes on for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.campaign import kill_runs, kill_writers


def test_a_writer_killed_anywhere_loses_nothing() -> None:
    """Forty kills at system calls of two ranks."""
    assert kill_writers(kills=40, seed=4)["killed"] >= 40


@pytest.mark.slow
def test_runs_killed_at_any_moment_end_as_if_left_alone(test_data: Path) -> None:
    """Four kills of all processes of a run."""
    assert kill_runs(runs=4, seed=4, data=test_data)["ended as if never killed"] >= 1
