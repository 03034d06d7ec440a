"""GRPO of adapters: the base is the reference, and an engine with a copy gets them merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import Clapas, python_ranks
from tune.grpo.toy import TOY

TRAIN = """
import sys
import torch
import clapas
from clapas.model.build import empty_model
from clapas.train.callbacks.base import Callback
from clapas.tune.grpo.engines.vllm import policy_weights

class Compare(Callback):
    def on_step(self, run):
        weights = {name: weight.clone() for name, weight in policy_weights(run)}
        plain = empty_model(run.recipe.model, torch.float32, "cpu")
        tokens = torch.arange(20)[None]
        with torch.no_grad():
            for name, parameter in plain.named_parameters():
                parameter.copy_(weights.pop(name))
            assert not weights, list(weights)
            difference = (plain(tokens) - run.engine.deepspeed.module(tokens)).abs().max().item()
        print("difference", difference)

clapas.train(clapas.read_recipe("test", sys.argv[1:]), callbacks=[Compare()])
"""


@pytest.mark.slow
def test_adapters_are_measured_from_their_base_and_handed_over_merged(
    clapas: Clapas, prompts: Path, tmp_path: Path
) -> None:
    """At ZeRO-3 on two ranks: no divergence at the first step, some later; merged weights compute the same."""
    base, run = tmp_path / "base", tmp_path / "run"
    arguments = [*TOY, f"data.path={prompts}", "train.steps=2"]
    result = clapas("train", "test", *arguments, f"run_dir={base}", cwd=prompts.parent)
    assert result.returncode == 0, result.stderr
    own = [f"model.from={base}", "lora={rank: 4}", "objective.beta=0.1", f"run_dir={run}", "parallel.zero_stage=3"]
    ended = python_ranks(TRAIN, [*arguments, *own], ranks=2, meeting=prompts.parent / f"meet-{tmp_path.name}")
    for rank in ended:
        assert rank.returncode == 0, rank.stderr
        differences = [float(line.split()[1]) for line in rank.stdout.splitlines() if line.startswith("difference")]
        assert len(differences) == 2
        assert max(differences) < 1e-5
    first, second = (json.loads(line)["kl"] for line in (run / "metrics.jsonl").read_text().splitlines())
    assert first == pytest.approx(0, abs=1e-7)
    assert second > 1e-5
