"""A run that begins with another model's weights, on a GPU. Skipped without one, and then listed in docs/not-run.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.evaluate.small import write_model

from clapas.ledger.ledger import read_json_lines
from commands import Clapas
from train.test_from import RECIPE
from tune.examples import conversations, write_folder


@pytest.mark.needs_gpus(1, proves="`model.from` fills a model built on a GPU, at ZeRO 1 and 3: the CPU's losses")
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_a_base_on_a_gpu(clapas: Clapas, tmp_path: Path, zero_stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 against the CPU, to 1e-4."""
    write_model(tmp_path / "base")
    write_folder(tmp_path / "data", tmp_path / "base", conversations(24), held_out=4)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    losses: list[list[float]] = []
    for run in ("gpu", "cpu"):
        arguments = ("train", "recipe.yaml", f"run_dir={run}", f"parallel.zero_stage={zero_stage}")
        result = clapas(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        rows = read_json_lines(tmp_path / run / "metrics.jsonl")
        losses.append([row["loss"] for row in rows if "split" not in row])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
