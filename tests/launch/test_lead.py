"""How long before its time limit a job is told: from what the run's saves have taken."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from clapas.launch.job import Choices, derive_job
from clapas.launch.lead import UNKNOWN_SECONDS, lead_seconds
from clapas.plan.site import read_site
from clapas.recipe.recipe import read_recipe


def past(run: Path, saves: list[float], steps: list[dict[str, float]]) -> None:
    """A run's ledger and metrics."""
    run.mkdir(exist_ok=True)
    events = [{"event": "checkpoint", "step": 10, "save_seconds": seconds} for seconds in saves]
    for name, rows in (("ledger.jsonl", events), ("metrics.jsonl", steps)):
        (run / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def test_the_lead_is_measured_where_the_run_has_saved(tmp_path: Path) -> None:
    """Twice the longest save, two steps, and the longest validation, which is logged as a mean over several steps."""
    assert lead_seconds(tmp_path / "none") == UNKNOWN_SECONDS
    rows = [{"step": step, "step_seconds": 5.0, "time/evaluation": 0.0} for step in (10, 20)]
    past(tmp_path, [100.0, 240.0, 90.0], [*rows, {"step": 30, "step_seconds": 7.0, "time/evaluation": 3.0}])
    assert lead_seconds(tmp_path) == 2 * 240 + 2 * 7 + 10 * 3
    past(tmp_path, [0.5], rows)
    assert lead_seconds(tmp_path) == 60
    past(tmp_path, [500.0, *[1.0] * 20], rows)  # long ago, on another machine
    assert lead_seconds(tmp_path) == 60


@pytest.mark.parametrize(("wall", "lead"), [("20:00:00", 600), ("0:10:00", 300), (None, 600)])
def test_the_lead_leaves_at_least_half_of_the_time_to_train(wall: str | None, lead: int) -> None:
    """Whatever was measured."""
    choices = Choices(1, account="cad1", wall=wall, accept_unverified=True)
    job = derive_job(read_recipe("test"), read_site("adastra"), choices, 600)
    assert job.lead_seconds == lead
