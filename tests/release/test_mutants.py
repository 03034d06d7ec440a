"""Nothing that breaks a release passes its gate, and no check is idle."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release.drafts import write_answers
from tests.release.mutants import alone, broken_in_all_ways

from clapas.checkpoint.committed import committed_checkpoints, step_of


@pytest.mark.slow
def test_every_mutant_is_found_and_every_check_finds_one_alone(released_run: Path, tmp_path: Path) -> None:
    """Checks 1 to 23, over sixty mutants; 24 has its own, in test_publish."""
    first = step_of(committed_checkpoints(released_run / "checkpoints")[0])
    found = list(broken_in_all_ways(released_run, write_answers(tmp_path / "release.yaml"), first, tmp_path))
    missed = [
        f"{caught.mutant.check}: {caught.mutant.name}: by {caught.by}" for caught in found if not caught.is_caught
    ]
    assert not missed
    assert len(found) >= 60
    assert set(alone(found)) == set(range(1, 24))
