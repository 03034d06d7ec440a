"""A little of the campaign at every run of the tests; `campaign.py` itself goes on for as long as one likes."""

from __future__ import annotations

from faults.campaign import kill_writers


def test_a_writer_killed_anywhere_loses_nothing() -> None:
    """Forty kills at system calls of two ranks."""
    assert kill_writers(kills=40, seed=4)["killed"] >= 40
