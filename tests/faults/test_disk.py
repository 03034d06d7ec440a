"""A disk that is full, or may not be written: training goes on, and what was committed stands."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clapas.checkpoint.committed import committed_checkpoints
from faults.runs import events, finish, rows, start, wait_for_lines, wait_until

DISK_BYTES = 64 * 2**20
NO_ROOM = "no room; what is written waits in memory"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB, which root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_BYTES}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_costs_checkpoints_and_no_step(small_disk: Path, test_data: Path) -> None:
    """The disk fills while two ranks train: they go on, and save again once there is room. No row is lost."""
    process = start(small_disk, test_data, "train.steps=1000", "checkpoint.every=2", "checkpoint.keep=1", nproc=2)
    wait_until(lambda: len(events(small_disk, "checkpoint")) > 0, process)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))
    # in either order: a row needs a new page of the disk only now and then
    wait_for_lines({"the checkpoint was not saved: No space left on device", NO_ROOM}, process)
    filler.unlink()
    wait_until(lambda: len(events(small_disk, "checkpoint_failed")) > 0, process)
    failed = events(small_disk, "checkpoint_failed")[0]
    wait_until(lambda: max(events(small_disk, "checkpoint")) > failed, process)
    process.terminate()
    code, errors = finish(process)
    assert code == 75, errors
    found = rows(small_disk)
    assert [step for step, _, _ in found] == list(range(1, len(found) + 1))


@pytest.fixture
def saved(tmp_path: Path, test_data: Path) -> Path:
    """A folder with a run of two steps, saved."""
    code, errors = finish(start(tmp_path, test_data, "train.steps=2", "checkpoint.every=2", "schedule.name=constant"))
    assert code == 0, errors
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_a_quota_ends_a_run_only_where_nothing_would_come_after(
    saved: Path, test_data: Path, asynchronous: str
) -> None:
    """Files may not grow to a checkpoint's size: step 4's save fails, step 6's too, and that is the last."""
    more = ("train.steps=6", "checkpoint.every=2", "schedule.name=constant", f"checkpoint.asynchronous={asynchronous}")
    code, errors = finish(start(saved, test_data, *more, before=("prlimit", "--fsize=500000")))
    assert code == 1
    assert "the checkpoint was not saved: File too large" in errors
    assert "Traceback" not in errors
    assert events(saved, "checkpoint_failed") == [4]
    assert [path.name for path in committed_checkpoints(saved / "run/checkpoints")] == ["step-00000002"]
    assert not list((saved / "run/checkpoints").glob(".*"))
    code, errors = finish(start(saved, test_data, *more))
    assert code == 0, errors
    assert [step for step, _, _ in rows(saved)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_folder_that_may_not_be_written_is_named(saved: Path, test_data: Path) -> None:
    """Also for root, who is given no more rights here than anyone: the save fails, and says where."""
    may_not = ("setpriv", "--bounding-set=-dac_override")
    (saved / "run/checkpoints").chmod(0o555)
    process = start(saved, test_data, "train.steps=4", "schedule.name=constant", before=may_not)
    code, errors = finish(process)
    (saved / "run/checkpoints").chmod(0o755)
    if "setpriv" in errors:
        pytest.skip("rights can only be dropped by root")
    assert code == 1
    assert "the checkpoint was not saved: Permission denied" in errors
    assert "step-00000004" in errors
    assert [path.name for path in committed_checkpoints(saved / "run/checkpoints")] == ["step-00000002"]
