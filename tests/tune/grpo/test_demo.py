"""The demo of docs/grpo.md, its steps cut short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clapas_data.examples import column
from clapas_data.manifest import open_manifest
from commands import Clapas

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_demo_runs_from_nothing_to_rollouts(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """Its prompts are made, a model is shown some answers, and is then rewarded for others; a turn's end ends them."""
    command = [sys.executable, str(ROOT / "examples/french_sums.py"), "data/sums"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    made_with = ("--tokenizer", test_data / "tokenizer", "--licence", "CC0-1.0")
    commands: list[tuple[object, ...]] = [
        ("data", "chat", f"data/sums/{kind}.jsonl", "--kind", kind, "--out", f"data/sums/{kind}", *made_with)
        for kind in ("conversations", "prompts")
    ]
    commands.append(("train", "tune/grpo-demo-start", "train.steps=60"))
    commands.append(("train", "tune/grpo-demo", "train.steps=6", "objective.group_size=4"))
    for arguments in commands:
        result = clapas(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert set(column(open_manifest(tmp_path / "data/sums/prompts"), "answer")) == {str(n) for n in range(11)}
    lines = [json.loads(line) for line in (tmp_path / "runs/grpo-demo/rollouts.jsonl").read_text().splitlines()]
    assert len(lines) == 6 * 8 * 4
    assert any(line["completion"].endswith("<|eot_id|>") and not line["truncated"] for line in lines)
    assert any(line["rewards"]["format"] == 1.0 for line in lines)
