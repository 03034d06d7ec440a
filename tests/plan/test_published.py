"""The plan against published runs: docs/plan.md is what the command prints, and its errors are what it says."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path

import pytest

from clapas.plan import published
from clapas.plan.published import BOUNDS, fit, left_out, read_published, tables
from clapas.plan.speed import CHECKED_DEVICES, CONSTANTS

PAGE = Path(__file__).parents[2] / "docs/plan.md"


def test_rows_are_many_and_complete() -> None:
    """At least 20 rows, of several publishers and devices, each with its source; those of the issue among them."""
    runs = read_published()
    assert len(runs) >= 20
    assert len({run.publisher for run in runs}) >= 5
    assert {run.origin.device for run in runs} == CHECKED_DEVICES
    assert all(run.origin.url.startswith("https://") for run in runs)
    rates = {run.row.tokens_per_second for run in runs}
    assert rates >= {6667, 10471, 4426, 24000, 104.5}


def test_errors_with_the_shipped_constants() -> None:
    """Median within 15 %; worst within 45 %, on a card that is fuller than full (docs/plan.md)."""
    errors = [abs(run.error()) for run in read_published()]
    assert statistics.median(errors) < 0.15
    assert sum(error > 0.3 for error in errors) <= 8
    assert max(errors) < 0.5


def test_a_known_fault_stands_out() -> None:
    """Lucie's launch blocking: under half of the plan, which is when a run warns."""
    for run in read_published(faulty=True):
        assert run.row.tokens_per_second < 0.5 * run.foretold()
        assert run.origin.fault


@pytest.mark.slow
def test_leaving_one_publisher_out() -> None:
    """Median within 15 %, all but two of the runs within 30 %, and the page says just this."""
    runs = read_published()
    of_others = left_out(runs)
    errors = [abs(run.error(of_others[run.publisher])) for run in runs]
    assert statistics.median(errors) < 0.15
    assert sum(error > 0.3 for error in errors) <= 2
    assert max(errors) < 0.35
    generated = PAGE.read_text().partition("python -m clapas.plan.published -->\n")[2]
    assert generated.strip() == tables().strip()


@pytest.mark.slow
def test_the_shipped_constants_are_the_fitted_ones() -> None:
    """Nothing was set by hand: the fit of all runs gives what ships, to the digits that are written."""
    fitted = asdict(fit(read_published()))
    for name, value in asdict(CONSTANTS).items():
        assert fitted[name] == pytest.approx(value, rel=0.03), name
        assert BOUNDS[name][0] <= value <= BOUNDS[name][1]
    assert published.CONSTANTS is CONSTANTS
