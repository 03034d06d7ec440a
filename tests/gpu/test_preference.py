"""Preference on a GPU: log-probabilities by the kernels, sums in one order, runs that resume to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from clapas.ledger.ledger import read_json_lines
from clapas.tune.log_probabilities import log_probabilities, sum_by_document
from commands import Clapas
from tune.examples import pairs, write_folder


@pytest.mark.needs_gpus(1, proves="log-probabilities by the Triton kernels: values, gradients, equal sums twice")
@pytest.mark.parametrize("is_head_frozen", [False, True])
def test_log_probabilities_are_those_of_the_cpu(is_head_frozen: bool) -> None:
    """bf16 against fp32 on the CPU, a vocabulary that is no multiple of anything."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(2, 300, 64, generator=generator), torch.randn(50_257, 64, generator=generator) * 0.1
    targets = torch.randint(0, 50_257, (2, 300), generator=generator)
    targets[torch.rand(2, 300, generator=generator) < 0.3] = -100
    segments = torch.arange(600).view(2, 300) // 100
    found = []
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.bfloat16), ("cuda", torch.bfloat16)):
        h = hidden.to(device, dtype).requires_grad_()
        w = weight.to(device, dtype).requires_grad_(not is_head_frozen)
        sums = sum_by_document(log_probabilities(h, w, targets.to(device)), segments.to(device), 6)
        (sums * torch.arange(1, 7, device=device)).sum().backward()
        assert h.grad is not None
        found.append([sums.detach().cpu(), h.grad.cpu(), *([] if w.grad is None else [w.grad.cpu()])])
    for wanted, first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first.float(), wanted, rtol=0.05, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.needs_gpus(1, proves="DPO in bf16 on a GPU: begins at log 2, and a resume is exact")
def test_dpo_resumes_exactly(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Four steps, and the last two again."""
    write_folder(tmp_path / "pairs", test_data / "tokenizer", pairs(24), kind="pairs", held_out=4)
    settings = ("objective.name=dpo", "data.path=pairs", "precision=bf16", "train.steps=4", "checkpoint.every=2")
    arguments = ("train", "test", *settings, "schedule.warmup_steps=0")
    found = []
    for name in ("whole", "resumed"):
        if name == "resumed":
            shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
            shutil.rmtree(tmp_path / "resumed/checkpoints/step-00000004")
        result = clapas(*arguments, f"run_dir={name}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        rows = read_json_lines(tmp_path / name / "metrics.jsonl")
        found.append([(row["step"], row["loss"], row["rewards/margins"]) for row in rows])
    assert found[0][0][1] == pytest.approx(0.6931, abs=5e-3)
    assert found[0] == found[1]
