"""Where a step's time goes, and what it costs to know."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clapas.train.clock import Clock
from clapas.train.waits import CollectiveWaits
from commands import clapas_environment


def spend(seconds: float) -> None:
    """Compute for a while."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_seconds_go_to_their_part_and_begin_anew_when_taken() -> None:
    """Two parts, one of them twice."""
    clock = Clock(torch.device("cpu"))
    begin = time.perf_counter()
    for part, seconds in (("data", 0.01), ("forward", 0.02), ("forward", 0.02)):
        with clock(part):
            spend(seconds)
    elapsed = time.perf_counter() - begin
    taken = clock.take()
    assert taken["data"] >= 0.01
    assert taken["forward"] >= 0.04
    assert elapsed - 0.005 < taken["data"] + taken["forward"] <= elapsed
    assert clock.take() == {}


def test_waits_are_a_part_of_their_own() -> None:
    """What the backward waited for others is not the backward's."""
    waited = 0.0
    clock = Clock(torch.device("cpu"))
    clock.waited = lambda: waited
    begin = time.perf_counter()
    with clock("backward"):
        spend(0.03)
        waited += 0.02
    elapsed = time.perf_counter() - begin
    taken = clock.take()
    assert taken["communication"] == pytest.approx(0.02)
    assert 0.01 <= taken["backward"] <= elapsed - 0.02


WAITING = """
import sys, time, torch, torch.distributed as dist
from clapas.train.waits import CollectiveWaits
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
dist.barrier()
waits = CollectiveWaits().open()
end = time.perf_counter() + 1
while rank == 0 and time.perf_counter() < end:
    pass  # the slow one computes
dist.all_reduce(torch.ones(3))
dist.broadcast(torch.ones(3), src=0)
waits.close()
dist.barrier()
print(waits.count, waits.seconds, flush=True)
"""


def test_the_rank_that_is_early_waits(tmp_path: Path) -> None:
    """Of two real ranks the second waits for the first, which computes for a second."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WAITING, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
            env=clapas_environment(),
        )
        for rank in (0, 1)
    ]
    (slow_count, slow), (early_count, early) = (map(float, p.communicate(timeout=120)[0].split()) for p in processes)
    assert slow_count == early_count == 2
    assert early > slow + 0.3


def test_closing_leaves_torch_as_it_was() -> None:
    """Also where nothing was opened."""
    from torch._C._distributed_c10d import Work

    before = Work.wait
    waits = CollectiveWaits()
    waits.close()
    waits.open()
    assert Work.wait is not before
    waits.close()
    assert Work.wait is before
