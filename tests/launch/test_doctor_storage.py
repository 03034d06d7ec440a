"""The doctor on storage: room, inodes, quotas, and what a scratch deletes before a run ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from clapas.launch.doctor.doctor import doctor
from clapas.launch.doctor.duration import duration_of
from clapas.launch.doctor.finding import Case, Finding, case_of
from clapas.launch.doctor.storage import Quota, file_system, free_bytes, parse_quota, quota_finding
from clapas.recipe.shipped import shipped_folder

DISK_BYTES, DISK_INODES = 2**20, 100
LFS = "/scratch/me  7032456*  7000000  8000000  6d23h  498111  500000  510000  -\n"
LFS_LONG = "/scratch/me\n   7032456  0  0  -  498111  0  0  -\n"
QUOTA = """Disk quotas for user me (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
/dev/sda1  3500000 4000000 4200000 0 1000 0 0 0
"""
MOUNTS = (
    "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "22 21 0:40 / /scratch rw - lustre mds@o2ib:/scratch rw\n"
    "23 21 0:41 / /scratch2 rw - nfs4 server:/export rw\n"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB and 100 inodes, which root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_BYTES},nr_inodes={DISK_INODES}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def scratch_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose scratch, a real folder, deletes what was not read for 10 days."""
    values = yaml.safe_load((shipped_folder("slurm") / "sites/local.yaml").read_text())
    values["directories"] = {"scratch": {"variable": "MY_SCRATCH", "purge_days": 10, "source": "this test"}}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(values))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("MY_SCRATCH", str(tmp_path / "scratch"))
    return path


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    """Check -> its finding."""
    return {finding.check: finding for finding in findings}


def test_a_disk_too_small_for_the_checkpoints(small_disk: Path, test_data: Path) -> None:
    """Bytes against what the recipe keeps, and the inodes left, on a real file system."""
    found = by_check(doctor(case_of("test", [f"data.path={test_data}", f"run_dir={small_disk}/run"])))
    assert found["free disk"].status == "failure"
    assert "not even two checkpoints fit; wanted: 2 checkpoints" in found["free disk"].why
    assert found["inodes"].status == "warning"
    assert not any(small_disk.iterdir())


def test_checkpoints_that_stay_for_good_count(tmp_path: Path) -> None:
    """As many as `clapas plan` says: with keep_every, far more than `keep`; never more than the run writes."""
    keys = ["checkpoint.every=10", "checkpoint.keep=1", "train.steps=1000"]
    for more, states in (([], 2), (["checkpoint.keep_every=100"], 12), (["train.steps=10"], 1)):
        case = case_of("test", [*keys, *more])
        assert case.recipe is not None
        each = 12 * case.recipe.model.parameters()
        enough, scarce = (free_bytes(case, tmp_path, free) for free in (states * each, states * each - 1))
        assert enough.status == "ok"
        assert scarce.status == ("warning" if states > 2 else "failure")
        assert f"{states} checkpoint" in scarce.why


def test_quotas_are_read_strictly() -> None:
    """`lfs` on one line or two, `quota`; of another file system, or in another shape: nothing."""
    assert parse_quota(LFS, "/scratch/me") == Quota(7032456 * 1024, 7000000 * 1024, 498111, 500000)
    assert parse_quota(LFS_LONG, "/scratch/me/") == Quota(7032456 * 1024, 0, 498111, 0)
    assert parse_quota(QUOTA, "/dev/sda1") == Quota(3500000 * 1024, 4000000 * 1024, 1000, 0)
    assert parse_quota(QUOTA, "/dev/sdb1") is None
    assert parse_quota("/scratch/me none of your business at all here now", "/scratch/me") is None
    assert parse_quota("/scratch/me 12 0 0", "/scratch/me") is None


def test_a_quota_that_is_full_or_nearly_so() -> None:
    """By bytes or by files, whichever is nearer its limit; without a limit there is nothing to fear."""
    folder = Path("/scratch/me")
    over = quota_finding("user", folder, Quota(7_100, 7_000, 1, 0))
    files = quota_finding("group", folder, Quota(1, 7_000, 490_000, 500_000))
    assert (over.status, files.status) == ("failure", "warning")
    assert "490,000 of 500,000 files" in files.found
    assert quota_finding("user", folder, Quota(10**15, 0, 10**9, 0)).status == "ok"


def test_the_file_system_of_a_folder() -> None:
    """The longest mount point above it, by whole names."""
    assert file_system(Path("/scratch/me/run"), MOUNTS) == ("lustre", "mds@o2ib:/scratch", "/scratch")
    assert file_system(Path("/scratch2/me"), MOUNTS) == ("nfs4", "server:/export", "/scratch2")
    assert file_system(Path("/scratch3"), MOUNTS) == ("ext4", "/dev/sda1", "/")


def test_what_a_scratch_deletes_before_the_run_ends(scratch_site: Path, tmp_path: Path) -> None:
    """Old data fail a run of days; a run longer than the purge is warned of; a short one is well."""
    data, run = tmp_path / "scratch/data", tmp_path / "scratch/run"
    data.mkdir()
    (data / "shard.bin").touch()
    week_ago = time.time() - 7 * 86_400
    os.utime(data / "shard.bin", (week_ago, week_ago))
    wanted = {24: ("ok", "ok"), 5 * 24: ("ok", "failure"), 11 * 24: ("warning", "failure")}
    for hours, (of_run, of_data) in wanted.items():
        case = case_of("test", [f"data.path={data}", f"run_dir={run}"], site=str(scratch_site), hours=hours)
        found = by_check(doctor(case))
        assert (found["purge of the run folder"].status, found["purge of the data"].status) == (of_run, of_data), hours
    foretold = by_check(doctor(case_of("test", [f"data.path={data}", f"run_dir={run}"], site=str(scratch_site))))
    assert "(as `clapas plan` foretells)" in foretold["purge of the data"].found
    shared = [f"data.path={data}", f"run_dir={run}", "train.global_batch_size=9"]
    unmeasured = by_check(doctor(case_of("test", shared, site=str(scratch_site), nodes=2)))
    assert unmeasured["purge of the data"].status == "skipped"
    assert "not measured: say --hours" in unmeasured["purge of the data"].found
    elsewhere = by_check(doctor(case_of("test", [f"data.path={data}"], site=str(scratch_site), hours=1000)))
    assert elsewhere["purge of the run folder"].status == "ok"


def test_the_length_of_a_run_is_its_own_steps(tmp_path: Path) -> None:
    """What is left, at the median of its logged steps; nothing where it has none."""
    run = tmp_path / "run"
    case = case_of("test", ["train.steps=1000", f"run_dir={run}"])
    assert duration_of(case) is None
    run.mkdir()
    rows = ['{"step": 100, "step_seconds": 7.0}', '{"step": 200, "step_seconds": 9.0}', '{"step": 200, "split": "x"}']
    (run / "metrics.jsonl").write_text("".join(f"{row}\n" for row in [rows[1], *rows]))
    length = duration_of(case)
    assert length is not None
    assert length.hours == pytest.approx(800 * 9.0 / 3600)
    assert str(length) == "2.0 hours (800 steps as measured so far)"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A read-only file system, which stops root too."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    try:
        found = by_check(doctor(Case(folder)))
        assert found["run folder"].status == "failure"
        assert found["clock of the file server"].status == "skipped"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
