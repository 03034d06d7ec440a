"""What only an NVIDIA driver can show of the doctor."""

from __future__ import annotations

import pytest

from clapas.launch.doctor.accelerator import nvidia
from clapas.launch.doctor.finding import Case
from clapas.launch.doctor.packages import build_fits, driver

PROVES = "nvidia-smi knows every field that `clapas doctor` asks for, and the driver's version is read from its file"


@pytest.mark.needs_gpus(1, proves=PROVES)
def test_the_driver_answers_the_doctor() -> None:
    """Nothing is skipped on a sound GPU of today, and torch's build and driver fit each other."""
    findings = [*nvidia(), *driver(Case()), *build_fits(Case())]
    assert {finding.status for finding in findings} == {"ok"}, findings
