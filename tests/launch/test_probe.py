"""What the probe's answer means; tests/slurm runs it on nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clapas.launch.doctor.doctor import doctor
from clapas.launch.doctor.finding import Case, Finding, case_of
from clapas.launch.doctor.network import local_ranks, probe_findings

SOUND: dict[str, Any] = {
    "ranks": 8,
    "hosts": ["n1", "n2"],
    "clocks": {
        "n1": {"ahead_seconds": 0.0, "within_seconds": 0.0},
        "n2": {"ahead_seconds": 0.002, "within_seconds": 0.0001},
    },
    "unreachable": [],
    "all_reduce": {"bytes": 2**28, "backend": "nccl", "seconds": 0.003, "bus_gb_per_second": 150.0},
}


def found(case: Case | None = None, **changes: Any) -> dict[str, Finding]:
    """Check -> finding of an answer that differs from a sound one."""
    return {finding.check: finding for finding in probe_findings({**SOUND, **changes}, case or Case())}


def test_a_sound_answer() -> None:
    """Nothing to mend; without a site there is nothing to compare the bandwidth with."""
    findings = found()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert "2.1 ms" in findings["clocks of the nodes"].found
    assert "nothing to compare" in findings["all-reduce bandwidth"].found


def test_clocks_apart_and_ports_that_are_shut() -> None:
    """The node, by how much; the port, and what meets there."""
    clocks = {**SOUND["clocks"], "n2": {"ahead_seconds": -7.0, "within_seconds": 0.001}}
    findings = found(clocks=clocks, unreachable=["n1 -> n2:15000: Connection refused"])
    assert (findings["clocks of the nodes"].status, findings["clocks of the nodes"].found) == ("warning", "n2 -7.0 s")
    assert findings["ports between nodes"].status == "failure"
    assert "n2:15000" in findings["ports between nodes"].found


def test_bandwidth_against_the_sheet() -> None:
    """Two nodes of Jean Zay: 1,600 Gbit/s are 200 GB/s. One: the GPUs' links, 450 GB/s."""
    case = case_of(None, site="jean-zay")
    slow = {**SOUND["all_reduce"], "bus_gb_per_second": 12.0}
    assert found(case)["all-reduce bandwidth"].status == "ok"
    assert "75% of the sheet's 200" in found(case)["all-reduce bandwidth"].found
    between = found(case, all_reduce=slow)["all-reduce bandwidth"]
    assert (between.status, between.why[:24]) == ("warning", "6% of the sheet's 200 GB")
    within = found(case, hosts=["n1"])["all-reduce bandwidth"]
    assert "33% of the sheet's 450" in within.why


def test_the_probe_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Slurm: two ranks here. Ranks that fail are a finding, not a traceback."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    findings = {finding.check: finding for finding in doctor(Case(tmp_path), probe=True)}
    assert findings["probe"].found == "2 ranks on 1 node"
    assert "GB/s bus bandwidth" in findings["all-reduce bandwidth"].found
    failed = local_ranks(("sh", "-c", "echo no such device >&2; exit 3"))
    assert (failed.output, failed.reason) == (None, "the ranks failed: no such device")
