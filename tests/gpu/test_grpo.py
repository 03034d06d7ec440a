"""GRPO on a GPU: our own generation in bf16, and vLLM beside the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import Clapas
from tune.grpo.toy import TOY, write_prompts


@pytest.fixture(scope="session")
def prompts(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, and beside their folder the module `toys`."""
    return write_prompts(tmp_path_factory.mktemp("grpo") / "prompts", test_data / "tokenizer")


def rewards(clapas: Clapas, prompts: Path, run: Path, *overrides: str) -> list[dict[str, float]]:
    """The rows of 30 steps of the toy."""
    arguments = [*TOY, f"data.path={prompts}", f"run_dir={run}", "train.steps=30", "checkpoint.every=30", *overrides]
    result = clapas("train", "test", *arguments, "precision=bf16", cwd=prompts.parent, timeout=900)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.needs_gpus(1, proves="GRPO learns in bf16 with its own generation, sampled as it trains but for rounding")
def test_own_engine(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """The toy is learned, and log-probabilities of sampling and training are close."""
    rows = rewards(clapas, prompts, tmp_path / "run")
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.2
    assert max(row["sampling_difference"] for row in rows) < 0.1


@pytest.mark.needs_gpus(
    1, proves="vLLM beside the training takes each step's weights, and what it samples is learned from"
)
def test_vllm(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """Its log-probabilities stay those of the weights that train, step after step; the toy is learned."""
    pytest.importorskip("vllm")
    rows = rewards(clapas, prompts, tmp_path / "run", "objective.engine=vllm")
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.2
    assert max(row["sampling_difference"] for row in rows) < 0.1
