"""GRPO in the training loop: resumed, split over ranks, learning, and telling what went wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clapas.train.telemetry.columns import column_of
from clapas_data.chat.build import chat
from commands import Clapas
from tune.grpo.toy import TOY


def train(clapas: Clapas, prompts: Path, run: Path, *overrides: str) -> None:
    """Train the toy, or go on with it."""
    arguments = [*TOY, f"data.path={prompts}", f"run_dir={run}", *overrides]
    result = clapas("train", "test", *arguments, cwd=prompts.parent)
    assert result.returncode == 0, result.stderr


def lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def learned(run: Path) -> list[tuple[float, ...]]:
    """What each step learned."""
    return [(row["step"], row["loss"], row["grad_norm"], row["reward"]) for row in lines(run / "metrics.jsonl")]


def test_a_resumed_run_makes_the_same_rollouts(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """Bit for bit, one line a rollout, also where steps after the checkpoint had been logged already."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(clapas, prompts, whole, "train.steps=4")
    train(clapas, prompts, resumed, "train.steps=3")
    shutil.rmtree(resumed / "checkpoints" / "step-00000003")
    train(clapas, prompts, resumed, "train.steps=4")
    assert (resumed / "rollouts.jsonl").read_bytes() == (whole / "rollouts.jsonl").read_bytes()
    assert learned(resumed) == learned(whole)

    rollouts = lines(whole / "rollouts.jsonl")
    rows = lines(whole / "metrics.jsonl")
    assert [(line["step"], line["member"]) for line in rollouts] == [
        (step, member) for step in range(1, 5) for _ in range(4) for member in range(4)
    ]
    first = [line for line in rollouts if line["step"] == 1]
    assert rows[0]["reward"] == pytest.approx(sum(line["reward"] for line in first) / 16)
    assert rows[0]["completion_length"] == sum(line["tokens"] for line in first) / 16
    assert rows[0]["truncated"] == sum(line["truncated"] for line in first) / 16
    assert len({line["completion"] for line in first}) == 16
    assert all(column_of(key) for key in rows[0])
    result = clapas("audit", "whole", "--step", 1, "--json", cwd=tmp_path)
    assert {row["id"] for row in json.loads(result.stdout)} == {line["id"] for line in first}


def test_a_reward_that_fails_ends_the_run_with_one_message(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """It names the prompt and the reward; no traceback, exit 2."""
    arguments = [*TOY, f"data.path={prompts}", f"run_dir={tmp_path / 'run'}", "train.steps=4"]
    wrong = "objective.rewards=[{name: function, function: 'math:sqrt'}]"
    result = clapas("train", "test", *arguments, wrong, cwd=prompts.parent)
    assert result.returncode == 2
    assert "reward sqrt, prompt dialogue-" in result.stderr
    assert "the reward raised TypeError" in result.stderr
    assert "Traceback" not in result.stderr


def test_prompts_without_an_answer_are_refused_before_the_first_step(
    clapas: Clapas, test_data: Path, tmp_path: Path
) -> None:
    """Not at the step that reads them: named with its line, and how many there are."""
    rows = [{"prompt": f"Combien font {n} + 1 ?", "answer": "" if n in (5, 9) else n + 1} for n in range(12)]
    (tmp_path / "sums.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    chat([tmp_path / "sums.jsonl"], tmp_path / "sums", tokenizer=test_data / "tokenizer", workers=1)
    settings = [*TOY, "data.path=sums", "run_dir=run", "train.steps=4", "objective.rewards=[{name: math}]"]
    result = clapas("train", "test", *settings, cwd=tmp_path)
    assert result.returncode == 2
    assert "sums.jsonl:6: a prompt has no answer" in result.stderr
    assert "no value of the column answer, nor have 1 other prompts that the run will read" in result.stderr
    assert not (tmp_path / "run/rollouts.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 3])
def test_ranks_stages_and_micro_batches_change_nothing(
    clapas: Clapas, prompts: Path, tmp_path: Path, stage: int
) -> None:
    """The same completions, and the same updates but for rounding, on two ranks in two micro-batches each."""
    train(clapas, prompts, tmp_path / "alone", "train.steps=3")
    split = ["--nproc", "2", f"parallel.zero_stage={stage}", "train.micro_batch_size=1"]
    train(clapas, prompts, tmp_path / "split", "train.steps=3", *split)
    assert (tmp_path / "split/rollouts.jsonl").read_bytes() == (tmp_path / "alone/rollouts.jsonl").read_bytes()
    for alone, shared in zip(learned(tmp_path / "alone"), learned(tmp_path / "split"), strict=True):
        assert shared == pytest.approx(alone, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_it_learns_what_is_rewarded(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """From half of the tokens even to nearly all of them, in 30 steps."""
    train(clapas, prompts, tmp_path / "run", "train.steps=30", "checkpoint.every=30", "train.global_batch_size=8")
    rewards = [row["reward"] for row in lines(tmp_path / "run" / "metrics.jsonl")]
    assert sum(rewards[:3]) / 3 < 0.6
    assert sum(rewards[-3:]) / 3 > 0.9


@pytest.mark.slow
def test_divergence_from_the_first_weights_holds_a_run_back(clapas: Clapas, prompts: Path, tmp_path: Path) -> None:
    """It is zero at the first step; with a large beta it stays small, and a resumed run measures from the same."""
    train(clapas, prompts, tmp_path / "base", "train.steps=2")
    begins = [f"model.from={tmp_path / 'base'}", "optimizer.lr=5e-3"]
    kl: dict[float, list[float]] = {}
    for beta in (1e-4, 20.0):
        run = tmp_path / str(beta)
        train(clapas, prompts, run, *begins, f"objective.beta={beta}", "train.steps=4")
        train(clapas, prompts, run, *begins, f"objective.beta={beta}", "train.steps=16")
        kl[beta] = [row["kl"] for row in lines(run / "metrics.jsonl")]
        assert kl[beta][0] == pytest.approx(0, abs=1e-6)
    assert kl[1e-4][-1] > 2 * kl[20.0][-1]
    assert kl[1e-4][-1] > kl[1e-4][4] > 0.01
