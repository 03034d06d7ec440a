"""The kernels move, occupy and spill what the golden file says, and that bears out every claim."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas_kernels.proof.cases import all_cases, quick_cases
from clapas_kernels.proof.golden import differences
from clapas_kernels.proof.table import broken_claims, measured
from clapas_kernels.target import TARGETS

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
"""Written by `python -m clapas_kernels.proof --json > tests/kernels/golden.json`; its commit says why."""


def test_the_golden_file_holds_every_case_and_bears_out_every_claim() -> None:
    assert [case.name for case in all_cases()] == sorted(GOLDEN)
    assert all(tuple(GOLDEN[case.name]["static"]) == case.targets for case in all_cases())
    assert list(broken_claims(all_cases(), GOLDEN)) == []


def test_nothing_spills_and_all_bulk_accesses_are_wide_but_for_one_store() -> None:
    """Apart from what the cases claim. The store is in docs/kernels.md, by name."""
    rows = [
        (name, target, row["spilled"], row["wide"])
        for name, parts in GOLDEN.items()
        for target, kernels in parts["static"].items()
        for row in kernels.values()
    ]
    assert [row for row in rows if row[2]] == []
    narrow = {(name.split()[0], target) for name, target, _, wide in rows if wide < 1}
    assert narrow == {("orthogonalise", "gfx90a"), ("orthogonalise", "gfx942")}


def test_three_operations_are_as_the_golden_file_says() -> None:
    cases = [case for case in quick_cases() if case.name.split()[0] in ("add_rms_norm", "rope", "swiglu")]
    assert len(cases) >= 3
    assert list(differences(GOLDEN, measured(cases, ["sm_90"]))) == []


@pytest.mark.slow
def test_every_case_on_every_target_is_as_the_golden_file_says() -> None:
    assert list(differences(GOLDEN, measured(all_cases(), list(TARGETS)))) == []
