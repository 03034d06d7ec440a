"""What only GPUs can show of a stall."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from faults.faulty_runs import run_with_fault

PROVES = "a stalled rank dumps NCCL's flight recorder beside its stacks, and torchfrtrace can read it"


@pytest.mark.needs_gpus(1, proves=PROVES)
def test_the_flight_recorder_is_dumped(test_data: Path, tmp_path: Path) -> None:
    """One rank, after collectives of NCCL: `torchfrtrace --prefix nccl-trace- FOLDER` reads what is left."""
    hang = "torch.distributed.all_reduce(torch.ones(1, device='cuda')); step == 3 and time.sleep(10**6)"
    overrides = ("faults.stall_seconds=5", "compute.compile=false")
    (alone,) = run_with_fault(tmp_path, test_data, *overrides, before_step=hang, ranks=1)
    assert alone.returncode == 1
    assert "rank 0 stalled at step 3" in alone.stderr
    dump = pickle.loads((tmp_path / "run/segments/001/nccl-trace-0").read_bytes())
    assert any("all_reduce" in entry["profiling_name"] for entry in dump["entries"])
