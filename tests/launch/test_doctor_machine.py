"""The doctor on what a machine gives: GPUs, limits, clocks, programs that do not answer."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import subprocess
import sys
from pathlib import Path

import pytest

from clapas.launch.doctor import accelerator, limits
from clapas.launch.doctor.accelerator import amd_findings, nvidia
from clapas.launch.doctor.ask import ask
from clapas.launch.doctor.clock import clock_finding
from clapas.launch.doctor.finding import Case

NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *remapped*) [ -n "$OLD_DRIVER" ] && { echo 'Field "remapped_rows.pending" is not a valid field to query.'; exit 2; }
    printf '%s\\n' "$PENDING, No" 'No, No' ;;
  *driver_version*) printf 'NVIDIA H100 80GB HBM3, 570.86.15\\nNVIDIA H100 80GB HBM3, 570.86.15\\n' ;;
  *ecc*) printf '0, 0\\n1, %s\\n' "$ECC" ;;
  *event_reasons*|*throttle*) case "$OLD_DRIVER$*" in 1*event*) echo 'not a valid field'; exit 2 ;; esac
    printf '0, Not Active, Not Active, Not Active\\n1, %s, Not Active, Not Active\\n' "$THERMAL" ;;
esac
"""
"""Answers as NVIDIA's tool does; this machine has none."""
AMD_METRIC = (
    '[{"gpu": 0, "ecc": {"total_correctable_count": 3, "total_uncorrectable_count": 0}}, {"gpu": 1, "ecc": %s}]'
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that come before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def program(folder: Path, name: str, text: str) -> Path:
    """A script that can be run by its name."""
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_program_that_hangs_is_killed_with_all_it_started(programs: Path) -> None:
    """The answer says so; neither it nor its child is left, and the child's open pipe holds nobody up."""
    program(programs, "hangs", f"#!/bin/sh\nsleep 1000 &\necho $! > {programs}/child\nwait\n")
    assert ask("hangs", seconds=1).reason == "hangs did not answer within 1 s"
    with contextlib.suppress(ProcessLookupError):
        child = os.pidfd_open(int((programs / "child").read_text()))
        assert select.select([child], [], [], 10)[0], "the child of a program that hung lives on"


def test_a_program_that_is_absent_or_fails_is_told(programs: Path) -> None:
    """By name, with the first line that it said."""
    program(programs, "fails", "#!/bin/sh\necho broken pipe dream >&2\nexit 3\n")
    assert ask("no-such-program").reason == "no-such-program is not installed"
    assert ask("fails").reason == "fails failed: broken pipe dream"


def test_nvidias_answers(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound GPUs; then one with memory errors, rows to exchange and heat; then a driver that knows no rows."""
    program(programs, "nvidia-smi", NVIDIA_SMI)
    for name, value in (("ECC", "0"), ("PENDING", "No"), ("THERMAL", "Not Active")):
        monkeypatch.setenv(name, value)
    sound = list(nvidia())
    assert [finding.status for finding in sound] == ["ok"] * 4
    assert sound[0].found == "2 × NVIDIA H100 80GB HBM3, driver 570.86.15"
    for name, value in (("ECC", "7"), ("PENDING", "Yes"), ("THERMAL", "Active")):
        monkeypatch.setenv(name, value)
    _, errors, rows, clocks = nvidia()
    assert (errors.status, errors.found) == ("failure", "GPU 1: 7 since the driver was loaded")
    assert (rows.status, clocks.status) == ("failure", "warning")
    assert clocks.found == "GPU 1: too hot, by the hardware"
    monkeypatch.setenv("ECC", "[N/A]")
    monkeypatch.setenv("OLD_DRIVER", "1")
    _, errors, rows, clocks = nvidia()
    assert (errors.status, rows.status, clocks.status) == ("ok", "skipped", "warning")


def test_a_driver_that_does_not_answer_is_a_failure(programs: Path) -> None:
    """The commonest defect of a GPU node."""
    program(programs, "nvidia-smi", "#!/bin/sh\necho 'NVIDIA-SMI has failed: no devices were found'\nexit 9\n")
    (finding,) = nvidia()
    assert finding.status == "failure"
    assert "no devices were found" in finding.found


def test_amds_answers() -> None:
    """A list, as ROCm 6 prints, or under gpu_data, as ROCm 7 does; another shape is not guessed at."""
    sound = AMD_METRIC % '{"total_uncorrectable_count": "N/A"}'
    bad = AMD_METRIC % '{"total_uncorrectable_count": 2}'
    assert [f.status for f in amd_findings(sound)] == ["ok", "ok", "skipped"]
    for text in (bad, f'{{"gpu_data": {bad}}}'):
        _, errors, _ = amd_findings(text)
        assert (errors.status, errors.found) == ("failure", "GPU 1: 2 since the driver was loaded")
    for text in ("no JSON", '{"card0": {}}', "[3]"):
        (unknown,) = amd_findings(text)
        assert unknown.status == "skipped"


def test_limits_that_are_too_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real limits, in a process that has them; locked memory counts where there is InfiniBand."""
    (tmp_path / "mlx5_0").mkdir()
    code = (
        "from pathlib import Path\nfrom clapas.launch.doctor import limits\n"
        "from clapas.launch.doctor.finding import Case\n"
        f"limits.INFINIBAND = Path({str(tmp_path)!r})\n"
        "print(*(f'{f.check}|{f.status}' for f in limits.limits(Case())), sep=chr(10))"
    )
    command = ["prlimit", "--nofile=256:256", "--nproc=512:512", "--memlock=65536:65536", sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n")[:3] == ["open files|warning", "processes|warning", "locked memory|failure"]
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert limits._open_files().status == ("ok" if soft >= limits.MIN_OPEN_FILES else "warning")


def test_a_file_servers_clock() -> None:
    """Between two readings of this machine's: well; beside them by more than a second: by how much, and which way."""
    assert clock_finding(100.5, 100.0, 101.0).status == "ok"
    assert clock_finding(99.5, 100.0, 101.0).status == "ok"
    behind, ahead = clock_finding(90.0, 100.0, 101.0), clock_finding(501.0, 100.0, 101.0)
    assert (behind.status, behind.found) == ("warning", "10.0 s behind this machine")
    assert (ahead.status, ahead.found) == ("warning", "400.0 s ahead of this machine")
    assert "300 s" in ahead.why
    assert "300 s" not in behind.why


def test_no_accelerator_is_said_as_it_is() -> None:
    """On a machine without any, training on the CPU is well."""
    if accelerator.vendor_here() is not None:
        pytest.skip("this machine has an accelerator")
    (finding,) = accelerator.accelerators(Case())
    assert finding.found == "none: training on the CPU, over gloo"
