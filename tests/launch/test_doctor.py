"""The doctor finds what would make a run fail, and says what mends it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from clapas.launch.doctor import doctor as doctor_module
from clapas.launch.doctor.doctor import doctor
from clapas.launch.doctor.finding import Case, Finding, case_of, exit_code, findings_json, findings_table
from clapas.launch.doctor.packages import driver_finding
from clapas.recipe.shipped import shipped_folder
from commands import Clapas, clapas_environment

FAKE_TORCH = '__version__ = "2.13.0+cu128"\ncuda: str | None = "12.8"\nhip = None\n'
"""What a build for NVIDIA says of itself."""
NOT_TO_BE_IMPORTED = 'raise RuntimeError("the doctor imported torch")\n'


def named(findings: list[Finding], check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in findings if finding.check == check]


def test_a_sound_machine_passes(clapas: Clapas, tmp_path: Path) -> None:
    """Exit 0, a line for each check, and no probe file is left behind."""
    result = clapas("doctor", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    for line in ("deepspeed: 0.19.8", "free disk: ", "inodes: ", "clock of the file server: within 1 s", "/dev/shm: "):
        assert line in result.stdout
    assert not any(tmp_path.iterdir())


def test_a_lock_of_a_killed_build_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every later run would wait for it for ever: named, with the command that removes it."""
    lock = tmp_path / "py311_cpu/deepspeed_shm_comm/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    findings = doctor(Case(tmp_path))
    (finding,) = named(findings, "torch extension locks")
    assert finding.status == "failure"
    assert finding.mend == f"rm '{lock}'"
    assert exit_code(findings) == 1


def test_what_slows_a_run_is_a_warning(tmp_path: Path) -> None:
    """Launch blocking, traces and too many threads: told, with the reason; not a failure. A harmless value is none."""
    slow = {"CUDA_LAUNCH_BLOCKING": "1", "AMD_SERIALIZE_KERNEL": "3", "NCCL_DEBUG": "trace", "OMP_NUM_THREADS": "10000"}
    harmless = {"HIP_LAUNCH_BLOCKING": "0", "TORCH_DISTRIBUTED_DEBUG": "INFO", "TORCH_EXTENSIONS_DIR": str(tmp_path)}
    findings = doctor(Case(tmp_path, environment={**slow, **harmless}))
    assert {finding.check for finding in findings if finding.status == "warning"} >= set(slow)
    assert not {finding.check for finding in findings} & set(harmless)
    assert exit_code(findings) == 0
    assert "mend: unset CUDA_LAUNCH_BLOCKING" in findings_table(findings_json(findings))


def test_a_check_that_hangs_is_told_and_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead file server: no answer is a failure by name, and the rest is there."""
    never = threading.Event()

    def hang(case: Case) -> Iterator[Finding]:
        never.wait()
        yield Finding("never", "ok", "")

    monkeypatch.setattr(doctor_module, "CHECKS", (("dead disk", hang), *doctor_module.CHECKS[:1]))
    begin = time.monotonic()
    first, *others = doctor(Case(tmp_path), deadline=0.5)
    never.set()
    assert time.monotonic() - begin < 10
    assert (first.check, first.status, first.found) == ("dead disk", "failure", "no answer within 0.5 s")
    assert named(others, "deepspeed")


def test_torchs_build_against_the_sites_accelerators(tmp_path: Path) -> None:
    """A CUDA build on AMD's nodes fails, a NCCL before torch's own is told; torch is read, not imported."""
    package = tmp_path / "packages/torch"
    package.mkdir(parents=True)
    (package / "version.py").write_text(FAKE_TORCH)
    (package / "__init__.py").write_text(NOT_TO_BE_IMPORTED)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/libnccl.so.2.18.3").touch()
    environment = clapas_environment()
    environment["PYTHONPATH"] = f"{package.parent}:{environment.get('PYTHONPATH', '')}"
    environment["LD_LIBRARY_PATH"] = f"{tmp_path / 'old'}:/nowhere"
    command = [sys.executable, "-m", "clapas", "doctor", "--json", "--site"]
    found = {}
    for site in ("adastra", "jean-zay"):
        ended = subprocess.run(
            [*command, site], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert not ended.stderr, ended.stderr
        found[site] = {row["check"]: row for row in json.loads(ended.stdout)}
    assert found["adastra"]["torch build"]["status"] == "failure"
    assert "AMD's GPUs would stand idle" in found["adastra"]["torch build"]["why"]
    assert "wheelhouse (docs/install-adastra.md)" in found["adastra"]["torch build"]["mend"]
    assert found["jean-zay"]["torch build"]["status"] == "ok"
    library = found["jean-zay"]["collectives library"]
    assert library["status"] == "warning"
    assert library["found"] == f"{tmp_path}/old/libnccl.so.2.18.3 (2.18.3)"


@pytest.mark.parametrize(
    ("driver", "cuda", "status", "told"),
    [
        ("580.65.06", "13.0", "ok", "for CUDA 13.0"),
        ("570.86.15", "13.0", "failure", "at least 580"),
        ("535.104.05", "12.8", "ok", "for CUDA 12.8"),
        ("470.57", "12.8", "failure", "CUDA 11.x"),
        ("600.1", "15.0", "skipped", "not known here"),
    ],
)
def test_a_driver_older_than_torchs_cuda(driver: str, cuda: str, status: str, told: str) -> None:
    """By CUDA's major release; one that is not known is not judged."""
    finding = driver_finding(driver, cuda)
    assert finding.status == status
    assert told in f"{finding.found} {finding.why} {finding.mend}"


def test_a_recipe_against_a_site(test_data: Path, tmp_path: Path) -> None:
    """bf16 on a V100, more nodes than a queue takes, ranks that cannot share the batch, a shard cut short."""
    shutil.copytree(test_data, tmp_path / "data")
    shard = next((tmp_path / "data/train").glob("*.bin"))
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 2)
    overrides = [f"data.path={tmp_path / 'data'}", "precision=bf16"]
    case = case_of("test", overrides, site="jean-zay", partition="v100-32g", nodes=1000, hours=50)
    failures = {finding.check: finding for finding in doctor(case) if finding.status == "failure"}
    assert {"data", "recipe", "precision", "queues"} <= failures.keys()
    assert shard.name in failures["data"].found
    assert "train.global_batch_size" in failures["recipe"].found
    assert "V100 32GB has no bf16" in failures["precision"].why
    assert failures["queues"].mend == "--nodes 128"


def test_a_recipe_that_fits_its_site(test_data: Path, tmp_path: Path) -> None:
    """Ranks, precision and queue are well, and the wall time says how many jobs it takes."""
    overrides = [f"data.path={test_data}", "precision=bf16", f"run_dir={tmp_path / 'run'}"]
    findings = doctor(case_of("test", overrides, site="jean-zay", nodes=2, hours=50))
    told = {finding.check: finding for finding in findings if finding.status == "ok"}
    assert "8 ranks" in told["recipe"].found
    assert told["precision"].found == "bf16 on H100"
    assert "qos_gpu_h100-t4 (100 h)" in told["queues"].found
    assert "3 jobs in a row of 20 h under qos_gpu_h100-t3 (`clapas launch --chain 3`), or 1 of 100 h (`--qos q" in (
        told["queues"].found
    )
    assert " of 80 GB of H100" in told["memory"].found
    assert "sizes and headers as recorded" in told["data"].found


def test_a_recipe_too_large_as_written(tmp_path: Path) -> None:
    """What does not fit or run fails, with a layout that does; a layout so pasted is well. Missing data: told once."""
    own = ["parallel.offload=cpu", "compute.activation_checkpointing=none", "train.micro_batch_size=32"]
    found = {f.check: f for f in doctor(case_of("pretrain/french-1b", own, site="jean-zay", nodes=4))}
    assert found["memory"].status == "failure"
    assert "as written it does not fit: needs " in found["memory"].found
    overrides = found["memory"].mend.split(" (")[0].split()
    assert "parallel.offload=none" in overrides
    mended = doctor(case_of("pretrain/french-1b", [*own, *overrides], site="jean-zay", nodes=4))
    assert [finding.status for finding in named(mended, "memory")] == ["ok"]
    assert [f.check for f in mended if "no such corpus folder" in f.found] == ["data"]
    uneven = doctor(case_of("pretrain/french-1b", ["train.micro_batch_size=256"], site="jean-zay", nodes=4))
    assert {f.check for f in uneven if "does not divide a rank's share" in f.found} == {"recipe", "memory"}
    nowhere = named(doctor(case_of("pretrain/french-13b", site="jean-zay", nodes=1)), "memory")
    assert "fits nowhere on 1 node of jean-zay" in nowhere[0].found


def test_the_chain_where_a_partition_has_no_qos(tmp_path: Path) -> None:
    """By its longest time; `skipped` where neither is known."""
    values = yaml.safe_load((shipped_folder("slurm") / "sites/local.yaml").read_text())
    path = tmp_path / "mine.yaml"
    for hours, status, told in (
        (None, "skipped", "no limits on record"),
        (24, "ok", "3 jobs in a row of 24 h (`clapas"),
    ):
        values["partitions"]["cpu"]["max_hours"] = hours
        path.write_text(yaml.safe_dump(values))
        (finding,) = named(doctor(case_of(None, site=str(path), hours=50)), "queues")
        assert finding.status == status
        assert told in finding.found


def test_offline_variables_of_a_site(tmp_path: Path) -> None:
    """In a job they must be set; a value that contradicts the site's is a failure anywhere; on a login node none is."""
    site = case_of(None, site="jean-zay")
    for environment, status in (
        ({"SLURM_JOB_ID": "1"}, {"warning"}),
        ({"HF_HUB_OFFLINE": "0"}, {"failure"}),
        ({}, {"ok"}),
    ):
        case = Case(tmp_path, site=site.site, partition=site.partition, environment=environment)
        offline = [f for f in doctor(case) if f.check == "offline variables" or f.check.endswith("_OFFLINE")]
        assert {finding.status for finding in offline} == status, offline


def test_unknown_sites_and_partitions_are_the_users_mistakes(clapas: Clapas, tmp_path: Path) -> None:
    """Exit 2, and what there is."""
    for arguments, told in (
        (("--site", "jean-zai"), "jean-zay"),
        (("--site", "jean-zay", "--partition", "h200"), "one of: h100, a100"),
        (("--partition", "h100"), "--site SITE"),
        (("--nodes", "0"), "wanted:  1 or more"),
        (("--nodes", "2"), "--site SITE, or leave it out"),
        (("--hours", "0"), "nothing runs in no time"),
    ):
        result = clapas("doctor", *arguments, cwd=tmp_path)
        assert result.returncode == 2, result.stdout
        assert told in result.stderr
        assert "Traceback" not in result.stderr


def test_the_doctor_tells_no_secret(tmp_path: Path) -> None:
    """Tokens, passwords in proxies' addresses and keys of overrides stay out of what it prints."""
    secrets = {"WANDB_API_KEY": "s3cret-w", "HF_TOKEN": "s3cret-h", "SLURM_JWT": "s3cret-j"}
    secrets["https_proxy"] = "http://user:s3cret-p@proxy:3128"
    environment = {**clapas_environment(), **secrets, "NCCL_DEBUG": "TRACE"}
    for form in ("--json", "--site=jean-zay"):
        command = [sys.executable, "-m", "clapas", "doctor", form]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert "NCCL_DEBUG" in ended.stdout
        assert "s3cret" not in ended.stdout + ended.stderr
