"""A run's sums come from its ledger, whatever crashed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.ledger.ledger import NOT_MEASURED, Ledger, read_ledger, sum_ledger
from clapas.recipe.errors import UserError


def totals(step: int, tokens: int, **more: Any) -> dict[str, Any]:
    base = {"step": step, "run_tokens": step * 10, "tokens": tokens, "flops": tokens * 6.0, "seconds": 2.0, "ranks": 2}
    return {**base, "energy_joules": NOT_MEASURED, **more}


def test_repeated_work_counts_as_work_but_not_as_progress(tmp_path: Path) -> None:
    """A segment killed at step 7 after a checkpoint at 5, then a second one from 5 to 10."""
    ledger = Ledger(tmp_path)
    ledger.append("segment_start", segment=1)
    ledger.append("checkpoint", segment=1, totals=totals(5, 50))
    ledger.append("segment_start", segment=2)
    ledger.append("checkpoint", segment=2, totals=totals(10, 50))
    ledger.append("segment_end", segment=2, totals=totals(10, 50))
    total = sum_ledger(read_ledger(tmp_path))
    assert (total.steps, total.tokens, total.tokens_computed) == (10, 100, 100)
    assert (total.segments, total.restarts, total.checkpoints) == (2, 1, 2)
    assert total.seconds == 4.0
    assert total.accelerator_seconds == 8.0
    assert total.energy_joules == NOT_MEASURED


def test_energy_is_a_number_only_if_every_segment_measured_it(tmp_path: Path) -> None:
    """A sum with a hole is not a measurement."""
    ledger = Ledger(tmp_path)
    ledger.append("checkpoint", segment=1, totals=totals(5, 50, energy_joules=100.0))
    assert sum_ledger(read_ledger(tmp_path)).energy_joules == 100.0
    ledger.append("checkpoint", segment=2, totals=totals(9, 40))
    assert sum_ledger(read_ledger(tmp_path)).energy_joules == NOT_MEASURED


def test_a_line_cut_by_a_crash_harms_no_other(tmp_path: Path) -> None:
    """The cut line is left out; what is appended afterwards stands on its own line."""
    ledger = Ledger(tmp_path)
    ledger.append("segment_start", segment=1)
    with ledger.path.open("ab") as file:
        file.write(b'{"event":"checkp')
    ledger.append("segment_start", segment=2)
    assert [event["segment"] for event in read_ledger(tmp_path)] == [1, 2]


def test_not_a_run(tmp_path: Path) -> None:
    """Says so."""
    with pytest.raises(UserError, match=r"no ledger\.jsonl"):
        read_ledger(tmp_path)
