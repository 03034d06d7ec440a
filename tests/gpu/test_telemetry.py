"""What only a GPU can show of the telemetry."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from clapas.train.telemetry.time_split import IN_STEP
from commands import Clapas

PROVES = "CUDA events split a step, its parts within its time, communication not measured; NVML counts joules"


@pytest.mark.needs_gpus(1, proves=PROVES)
def test_the_parts_of_a_step_on_a_gpu(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Also where steps lie between two rows; energy is a number where nvidia-ml-py and the board give one."""
    overrides = (f"data.path={test_data}", "run_dir=run", "telemetry.log_every=5", "compute.compile=false")
    assert clapas("train", "test", *overrides, cwd=tmp_path).returncode == 0
    for row in read_json_lines(tmp_path / "run/metrics.jsonl")[1:]:
        if "split" not in row:
            assert row["time/communication"] is None
            assert row["time/backward"] > 0
            assert sum(row[f"time/{part}"] or 0.0 for part in IN_STEP) <= row["step_seconds"] * 1.05
            assert row["energy_joules"] is None or row["energy_joules"] > 0
