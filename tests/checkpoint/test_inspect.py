"""`clapas checkpoint list|verify|diff`, on a run's own checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.inspect import diff_checkpoints, diff_text
from commands import Clapas


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clapas: Clapas, test_data: Path) -> Path:
    """Three steps, a checkpoint each."""
    folder = tmp_path_factory.mktemp("inspected")
    overrides = (
        "train.steps=3",
        "checkpoint.every=1",
        "checkpoint.keep=3",
        "schedule.warmup_steps=1",
    )
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *overrides, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def test_a_list_tells_steps_and_sizes(clapas: Clapas, run: Path) -> None:
    """As a table for people, as JSON for scripts."""
    result = clapas("checkpoint", "list", run, "--json", cwd=run)
    rows = json.loads(result.stdout)
    assert [(row["step"], row["ranks"], row["problem"]) for row in rows] == [(1, 1, None), (2, 1, None), (3, 1, None)]
    size = sum(path.stat().st_size for path in committed_checkpoints(run / "checkpoints")[0].glob("*.safetensors"))
    assert rows[0]["bytes"] == size
    table = clapas("checkpoint", "list", run, cwd=run)
    assert len(table.stdout.splitlines()) == 4
    assert "sound" in table.stdout


def test_a_flipped_bit_is_found_by_verify_alone(clapas: Clapas, run: Path, tmp_path: Path) -> None:
    """`list` compares sizes; `verify` reads all, names the file and exits 1; sound ones exit 0."""
    assert clapas("checkpoint", "verify", run, cwd=tmp_path).returncode == 0
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = next((copy / "checkpoints/step-00000002").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    listed = json.loads(clapas("checkpoint", "list", copy, "--json", cwd=tmp_path).stdout)
    assert [row["problem"] for row in listed] == [None, None, None]
    result = clapas("checkpoint", "verify", copy, cwd=tmp_path)
    assert result.returncode == 1
    assert "1 of 3 checkpoints damaged" in result.stderr
    assert path.name in result.stdout
    assert clapas("checkpoint", "verify", copy / "checkpoints/step-00000003", cwd=tmp_path).returncode == 0


def test_a_difference_is_told_by_state_and_by_key(run: Path, clapas: Clapas) -> None:
    """Of itself: none. Of the next step: every state of every parameter that learns, and the step."""
    one, two, _ = committed_checkpoints(run / "checkpoints")
    same = diff_checkpoints(one, one)
    assert (same["facts"], same["recipe"], same["only_first"], same["only_second"]) == ({}, {}, [], [])
    assert {state: entry["different"] for state, entry in same["states"].items()} == {
        "exp_avg": 0,
        "exp_avg_sq": 0,
        "master": 0,
    }
    result = diff_checkpoints(one, two)
    assert result["facts"] == {"step": [1, 2]}
    assert result["states"]["master"]["different"] > 0
    assert "step: 1  ->  2" in diff_text(result)
    assert clapas("checkpoint", "diff", one, run, cwd=run).stdout.startswith("step: 1  ->  3\n")


def test_a_folder_without_checkpoints_is_told_so(clapas: Clapas, tmp_path: Path) -> None:
    """Exit 2."""
    for verb in ("list", "verify"):
        result = clapas("checkpoint", verb, tmp_path, cwd=tmp_path)
        assert result.returncode == 2
        assert "no checkpoint here" in result.stderr
