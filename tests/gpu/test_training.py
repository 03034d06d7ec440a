"""Training on GPUs over NCCL (RCCL on AMD). Skipped without them, and then listed in docs/not-run.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from commands import Clapas

SMALL = ("train.steps=6", "schedule.warmup_steps=2", "checkpoint.every=3", "evaluation.every=3")


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]


@pytest.mark.needs_gpus(1, proves="one GPU trains, validates, saves and resumes; its fp32 losses are the CPU's to 1e-4")
def test_one_gpu(clapas: Clapas, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 against the CPU, then a resume."""
    common = ("train", "test", f"data.path={test_data}", *SMALL)
    assert clapas(*common, "run_dir=gpu", cwd=tmp_path).returncode == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert clapas(*common, "run_dir=cpu", cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-4)


@pytest.mark.needs_gpus(2, proves="two ranks over NCCL agree with one, for ZeRO 1 and 3, in bf16")
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_two_gpus(clapas: Clapas, test_data: Path, tmp_path: Path, zero_stage: int) -> None:
    """The same losses on one GPU and on two, to bf16's rounding."""
    common = ("train", "test", f"data.path={test_data}", *SMALL, "precision=bf16", f"parallel.zero_stage={zero_stage}")
    assert clapas(*common, "run_dir=one", cwd=tmp_path).returncode == 0
    assert clapas(*common, "run_dir=two", "--nproc", 2, cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-2)


@pytest.mark.needs_gpus(2, proves="Muon over NCCL, in bf16: two ranks agree with one, for ZeRO 1 and 3")
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_muon_on_two_gpus(clapas: Clapas, test_data: Path, tmp_path: Path, zero_stage: int) -> None:
    """Its matrices travel between GPUs as they do between CPUs."""
    common = (
        "train",
        "test",
        f"data.path={test_data}",
        *SMALL,
        "optimizer.name=muon",
        f"parallel.zero_stage={zero_stage}",
    )
    assert clapas(*common, "run_dir=one", cwd=tmp_path).returncode == 0
    assert clapas(*common, "run_dir=two", "--nproc", 2, cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)


@pytest.mark.needs_gpus(1, proves="MFU on a GPU is measured against the datasheet's peak (slurm/hardware.yaml)")
def test_mfu_of_a_gpu(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """A number between 0 and 1 in every row, on a device that the sheet knows."""
    common = ("train", "test", f"data.path={test_data}", *SMALL, "precision=bf16", "run_dir=run")
    assert clapas(*common, cwd=tmp_path).returncode == 0
    rows = [row for row in read_json_lines(tmp_path / "run/metrics.jsonl") if "split" not in row]
    assert all(row["mfu"] is not None and 0 < row["mfu"] < 1 for row in rows)


@pytest.mark.needs_gpus(2, proves="ZeRO++'s quantised weights and gradients train, with losses near those without")
def test_quantised_communication(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """int8 gathering and int4 reduction on two GPUs, against neither."""
    common = ("train", "test", f"data.path={test_data}", *SMALL, "precision=bf16", "parallel.zero_stage=3")
    quantised = ("parallel.quantized_weights=true", "parallel.quantized_gradients=true")
    assert clapas(*common, "run_dir=plain", "--nproc", 2, cwd=tmp_path).returncode == 0
    assert clapas(*common, *quantised, "run_dir=quantised", "--nproc", 2, cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "quantised") == pytest.approx(losses(tmp_path / "plain"), rel=2e-2)


@pytest.mark.needs_gpus(1, proves="the optimizer's state offloaded to pinned host memory trains as it does on the GPU")
def test_offload(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """ZeRO-2 with and without offload, fp32."""
    common = ("train", "test", f"data.path={test_data}", *SMALL, "parallel.zero_stage=2")
    assert clapas(*common, "run_dir=device", cwd=tmp_path).returncode == 0
    assert clapas(*common, "parallel.offload=cpu", "run_dir=host", cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "host") == pytest.approx(losses(tmp_path / "device"), rel=1e-5)


@pytest.mark.needs_gpus(1, proves="training with the fused kernels is training without them, to bf16's rounding")
@pytest.mark.parametrize("documents", ["true", "false"])
def test_kernels_on_a_gpu(clapas: Clapas, test_data: Path, tmp_path: Path, documents: str) -> None:
    """The same losses with `compute.kernels: auto` and `reference`, with and without a document mask."""
    common = ("train", "test", f"data.path={test_data}", *SMALL, "precision=bf16", f"data.document_mask={documents}")
    for kernels in ("auto", "reference"):
        assert clapas(*common, f"run_dir={kernels}", f"compute.kernels={kernels}", cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "auto") == pytest.approx(losses(tmp_path / "reference"), rel=1e-2)
