"""The doctor finds what would make a run fail, and says what mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.launch.doctor import doctor, exit_code, findings_json, findings_table
from commands import Clapas


def test_a_sound_machine_passes(clapas: Clapas, tmp_path: Path) -> None:
    """Exit 0 and a line for each check."""
    result = clapas("doctor", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "deepspeed: 0.19.8" in result.stdout


def test_a_lock_of_a_killed_build_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every later run would wait for it for ever: named, with the command that removes it."""
    lock = tmp_path / "py311_cpu/deepspeed_shm_comm/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    findings = doctor(tmp_path)
    (finding,) = [finding for finding in findings if finding.check == "torch extension locks"]
    assert finding.status == "failure"
    assert finding.mend == f"rm '{lock}'"
    assert exit_code(findings) == 1


def test_what_slows_a_run_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_LAUNCH_BLOCKING and too many threads: told, with the reason; not a failure."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "10000")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    findings = doctor(tmp_path)
    warned = {finding.check for finding in findings if finding.status == "warning"}
    assert {"CUDA_LAUNCH_BLOCKING", "OMP_NUM_THREADS"} <= warned
    assert exit_code(findings) == 0
    assert "mend: unset CUDA_LAUNCH_BLOCKING" in findings_table(findings_json(findings))
