"""The static meter: a sound kernel on every target, and each planted fault is found in the machine code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clapas_kernels.proof import static
from clapas_kernels.target import TARGETS

KERNELS = Path(__file__).with_name("compiled_kernels.py")
QUICK = ["sm_90", "gfx942"]
OTHERS = [pytest.param(target, marks=pytest.mark.slow) for target in TARGETS if target not in QUICK]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[tuple[str, str], Any]:
    """(kernel, target) -> what it became, compiled anew, in a process that does not interpret."""
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    targets = {str(item.callspec.params["target"]) for item in functions if item.cls is TestOnEachTarget}
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    command = [sys.executable, "-W", "ignore", KERNELS, *sorted(targets)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return {(row["kernel"], row["target"]): row for row in json.loads(run.stdout)}


@pytest.mark.parametrize("target", [*QUICK, *OTHERS])
class TestOnEachTarget:
    """All kernels of compiled_kernels.py."""

    def test_a_sound_kernel_is_wide_and_full_and_spills_nothing(self, measured: Any, target: str) -> None:
        row = measured["copy", target]
        assert row["accesses"] == {"load 128": 1, "store 128": 1}
        assert (row["wide"], row["spilled"], row["shared"], row["occupancy"]) == (1, 0, 0, 1)
        assert row["registers"] < 32
        assert row["programs"] * row["warps"] * TARGETS[target].warp_size == 2048

    def test_a_spill_is_found(self, measured: Any, target: str) -> None:
        assert measured["spill", target]["spilled"] > 500
        assert not any(row["spilled"] for (kernel, _), row in measured.items() if kernel != "spill")

    def test_narrow_accesses_are_found(self, measured: Any, target: str) -> None:
        row = measured["narrow", target]
        assert set(row["accesses"]) == {"load 16", "store 16"}
        assert row["wide"] == 0

    def test_scalars_are_not_bulk(self, measured: Any, target: str) -> None:
        row = measured["copy_beside_scalars", target]
        assert any(not access.endswith("128") for access in row["accesses"])
        assert row["wide"] == 1

    def test_narrow_accesses_do_not_hide_behind_scalars(self, measured: Any, target: str) -> None:
        """A small access accounts for one instruction, and the row's is another; of 2 bytes and of 4, which AMD has
        a scalar unit for."""
        for row in (measured["narrow_beside_scalars", target], measured["narrow_words_beside_scalars", target]):
            assert not any(access.endswith("128") for access in row["accesses"])
            assert row["wide"] == 0

    def test_shared_memory_is_found(self, measured: Any, target: str) -> None:
        assert measured["hold_shared_memory", target]["shared"] >= 64 * 64 * 2

    def test_many_registers_cost_occupancy(self, measured: Any, target: str) -> None:
        assert measured["spill", target]["occupancy"] <= 0.5

    def test_atomics_are_found(self, measured: Any, target: str) -> None:
        assert any(access.startswith("atomic") for access in measured["add_to", target]["accesses"])


def test_an_interpreting_process_cannot_compile() -> None:
    with pytest.raises(static.CompilingError, match="unset it"):
        static.captured(TARGETS["sm_90"], lambda: None)


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "programs"),
    [
        (32, 0, 8, 8),  # 64 warps of 1,024 registers: all that there are
        (33, 0, 8, 6),  # a warp takes 1,280: 51 fit, in whole programs
        (255, 0, 8, 1),
        (16, 100 << 10, 8, 2),  # 101 KiB each, of 228
        (16, 0, 1, 32),  # 32 programs at most
    ],
)
def test_occupancy_of_hopper_by_hand(registers: int, shared: int, warps: int, programs: int) -> None:
    assert static._LIMITS["sm_90"].programs(registers, shared, warps) == programs


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "programs"),
    [
        (64, 0, 4, 8),  # eight waves of 64 registers on each SIMD
        (65, 0, 4, 7),  # in granules of eight: 72, and seven fit
        (512, 0, 4, 1),
        (32, 32 << 10, 4, 2),
        (300, 0, 8, 0),  # eight waves do not fit one to a SIMD
    ],
)
def test_occupancy_of_cdna_by_hand(registers: int, shared: int, warps: int, programs: int) -> None:
    assert static._LIMITS["gfx942"].programs(registers, shared, warps) == programs
