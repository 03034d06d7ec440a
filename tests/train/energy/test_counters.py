"""Joules from real files: a tree of powercap files, a Cray node's counter, a board's watts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from clapas.train.energy.counter import Counter
from clapas.train.energy.cray import cray_counters
from clapas.train.energy.hwmon import SampledPower, hwmon_counters
from clapas.train.energy.meter import CPU_PACKAGES, EnergyMeter, open_meter
from clapas.train.energy.rapl import rapl_counters
from clapas.train.energy.slurm import consumed_joules


def zone(root: Path, name: str, *, called: str, microjoules: int, wraps_at: int = 1_000_000_000) -> Path:
    """A powercap zone as the kernel lays it out."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def joules(counters: list[Counter]) -> float:
    """Their sum."""
    return sum(counter.joules() for counter in counters)


def test_packages_and_their_memory_are_counted_and_no_part_twice(tmp_path: Path) -> None:
    """Two packages and a DRAM zone; the cores lie within their package, and psys is all of the machine."""
    first = zone(tmp_path, "intel-rapl:0", called="package-0", microjoules=5_000_000)
    second = zone(tmp_path, "intel-rapl:1", called="package-1", microjoules=0)
    cores = zone(tmp_path, "intel-rapl:0:0", called="core", microjoules=0)
    memory = zone(tmp_path, "intel-rapl:0:1", called="dram", microjoules=0)
    system = zone(tmp_path, "intel-rapl:2", called="psys", microjoules=0)
    counters = rapl_counters(tmp_path)
    assert joules(counters) == 0.0
    for file, value in ((first, 7_000_000), (second, 1_500_000), (cores, 900_000), (memory, 250_000), (system, 9)):
        file.write_text(f"{value}\n")
    assert joules(counters) == pytest.approx(2.0 + 1.5 + 0.25)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    """From 990 J over the end of its range at 1000 J to 15 J: 25 J, and on from there."""
    file = zone(tmp_path, "intel-rapl:0", called="package-0", microjoules=990_000_000)
    counters = rapl_counters(tmp_path)
    file.write_text("15000000\n")
    assert joules(counters) == pytest.approx(25.0)
    file.write_text("20000000\n")
    assert joules(counters) == pytest.approx(30.0)


def test_a_counter_that_restarts_counts_nothing_for_the_gap() -> None:
    """A driver that was loaded anew begins at 0, which is no energy given back."""
    values = iter([100.0, 130.0, 5.0, 7.0])
    counter = Counter(lambda: next(values))
    assert [counter.joules() for _ in range(3)] == [30.0, 30.0, 32.0]


def test_some_packages_are_not_the_whole(tmp_path: Path) -> None:
    """Where one package cannot be read nothing is measured: half a machine would pass for the whole."""
    zone(tmp_path, "intel-rapl:0", called="package-0", microjoules=0)
    zone(tmp_path, "intel-rapl:1", called="package-1", microjoules=0).unlink()
    assert rapl_counters(tmp_path) == []


def test_a_counter_that_goes_away_ends_the_measure_and_not_the_run(tmp_path: Path) -> None:
    """NaN from then on, which no sum over ranks can hide."""
    file = zone(tmp_path, "intel-rapl:0", called="package-0", microjoules=0)
    meter = EnergyMeter(CPU_PACKAGES, rapl_counters(tmp_path))
    file.write_text("3000000\n")
    assert meter.joules() == pytest.approx(3.0)
    file.unlink()
    assert meter.joules() != meter.joules()


def test_a_cray_node_counts_joules(tmp_path: Path) -> None:
    """The format of HPE Cray EX's pm_counters."""
    (tmp_path / "energy").write_text("1000 J 1700000000000000 us\n")
    counters = cray_counters(tmp_path)
    (tmp_path / "energy").write_text("1420 J 1700000001000000 us\n")
    assert joules(counters) == 420.0
    assert cray_counters(tmp_path / "elsewhere") == []


def test_a_board_that_tells_watts_is_summed_up(tmp_path: Path) -> None:
    """200 W for as long as the clock says, from amdgpu's file of microwatts."""
    file = tmp_path / "0000:c1:00.0/hwmon/hwmon3/power1_average"
    file.parent.mkdir(parents=True)
    file.write_text("200000000\n")
    begin = time.perf_counter()
    power = SampledPower(file, sample_seconds=0.01)
    while time.perf_counter() - begin < 0.1:
        pass
    least, measured = 200 * (time.perf_counter() - begin), power.joules()
    assert least - 10 < measured <= 200 * (time.perf_counter() - begin) + 1
    assert len(hwmon_counters("0000:c1:00.0", tmp_path)) == 1
    assert hwmon_counters("0000:c2:00.0", tmp_path) == []


def test_slurm_says_whether_it_measures() -> None:
    """Lines of `scontrol --oneliner show node`."""
    assert consumed_joules("NodeName=n1 CurrentWatts=250 AveWatts=240 ConsumedJoules=123456 ExtSensors=n/s") == 123456.0
    for line in ("NodeName=n1 CurrentWatts=n/s AveWatts=n/s ConsumedJoules=n/s", "NodeName=n1 ConsumedJoules=0", ""):
        with pytest.raises(ValueError, match="does not measure"):
            consumed_joules(line)


def test_only_the_first_rank_of_a_node_reads_a_counter_of_the_node() -> None:
    """Another rank adds 0 where there is such a counter; where there is none, no rank measures."""
    first, second = (open_meter(torch.device("cpu"), local_rank) for local_rank in (0, 1))
    assert first.boundary == second.boundary
    assert second.joules() == 0.0 or second.joules() != second.joules()
