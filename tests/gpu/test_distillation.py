"""Distillation on a GPU: the teacher asked there, the student's loss in chunks there."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.ledger.ledger import read_json_lines
from commands import Clapas


@pytest.mark.needs_gpus(1, proves="distillation in bf16 on a GPU: a stored teacher gives the losses of the live one")
def test_live_and_stored(clapas: Clapas, test_data: Path, trained_run: Path, tmp_path: Path) -> None:
    """Six steps of each, to bf16's rounding."""
    common = ["test", f"data.path={test_data}", "objective.name=distillation", "precision=bf16", "train.steps=6"]
    assert clapas("distil", *common, f"objective.teacher={trained_run}", "--out", "said", cwd=tmp_path).returncode == 0
    losses = {}
    for run, teacher in (("live", trained_run), ("stored", "said")):
        result = clapas("train", *common, f"objective.teacher={teacher}", f"run_dir={run}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        losses[run] = [row["loss"] for row in read_json_lines(tmp_path / run / "metrics.jsonl") if "split" not in row]
    assert losses["stored"] == pytest.approx(losses["live"], rel=1e-2)
