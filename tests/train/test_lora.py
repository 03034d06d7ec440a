"""Runs that train adapters: exact at every ZeRO stage, saved without their base, and nothing without it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from tests.evaluate.small import CONFIG, write_model

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines
from clapas.model.lora_config import LoraConfig, is_adapter
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.adapters import with_adapter_seal
from commands import Clapas, python_ranks
from tune.examples import conversations, write_folder

RECIPE: dict[str, Any] = {
    "name": "adapters",
    "run_dir": "run",
    "model": {"from": "base"},
    "lora": {"rank": 4},
    "objective": {"name": "sft"},
    "data": {"path": "data", "sequence_length": 96},
    "optimizer": {"lr": 1e-2},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "train": {"steps": 4, "global_batch_size": 4, "threads": 1},
    "checkpoint": {"every": 2, "keep": 9},
    "evaluation": {"every": 100},
    "telemetry": {"log_every": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model (base), conversations (data), and a recipe."""
    folder = tmp_path_factory.mktemp("lora")
    write_model(folder / "base")
    write_folder(folder / "data", folder / "base", conversations(24), held_out=4)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


TRAIN_AND_RESUME = """
import os
import sys
from pathlib import Path

import torch

from clapas.checkpoint.reader import CheckpointReader
from clapas.checkpoint.saving import write_checkpoint
from clapas.engine.layout import layout_of
from clapas.engine.ranks import start_ranks, stop_ranks
from clapas.engine.slots import slots
from clapas.engine.state import capture, load_weights, restore
from clapas.model.lora_config import is_adapter
from clapas.recipe.recipe import read_recipe
from clapas.train.adapters import not_the_bases
from clapas.train.first_weights import open_first_weights
from clapas.train.train import build_engine

world = start_ranks()


def begin():
    engine = build_engine(recipe, ranks, first_weights=base)
    load_weights(engine, base, **not_the_bases(engine.deepspeed.module))
    return engine


def train(engine, steps):
    for step in steps:
        source = torch.Generator().manual_seed(10 * step + world.rank)
        tokens = torch.randint(0, 250, (4 // world.size, 32), generator=source)
        engine.set_batch(4, 1)
        engine.backward(engine(tokens, targets_BS=tokens)[0], 128.0)
        engine.step(1e-2)


def save(engine, name, step):
    snapshot, training = capture(engine)
    facts = {"step": step, "identity": "", "execution": "", "recipe": recipe.model_dump(mode="json"), "versions": {}}
    return write_checkpoint(Path(name) / layout / "checkpoints", snapshot, {**facts, "training": training}, ranks)


for layout in sys.argv[1:]:
    recipe = read_recipe("recipe.yaml", layout.split())
    ranks = world.arranged(layout_of(recipe, world.size))
    base = open_first_weights(recipe, ranks)
    whole = begin()
    train(whole, range(2))
    checkpoint = save(whole, "whole", 2)
    train(whole, range(2, 4))
    save(whole, "whole", 4)
    again = begin()
    restore(again, CheckpointReader(checkpoint))
    train(again, range(2, 4))
    save(again, "again", 4)
    for slot in slots(again.deepspeed):
        if not is_adapter(slot.name):
            held = slot.owner.detach().view(-1)[slot.start : slot.start + slot.length]
            expected = torch.empty_like(held)
            base.read_into(slot.name, slot.offset, expected)
            assert held.equal(expected), (layout, slot.name)
stop_ranks()
os._exit(0)
"""
LAYOUTS = [
    f"parallel.zero_stage={stage} precision={precision} lora.dora={'true' if stage % 2 else 'false'}"
    for stage in range(4)
    for precision in ("fp32", "bf16")
]


@pytest.mark.parametrize(
    ("ranks", "layouts"),
    [
        (2, ["parallel.zero_stage=3 precision=bf16 lora.dora=true"]),
        pytest.param(1, LAYOUTS, marks=pytest.mark.slow),
        pytest.param(2, LAYOUTS, marks=pytest.mark.slow),
    ],
    ids=["one", "all on one", "all on two"],
)
def test_a_resume_is_exact_at_every_stage(folder: Path, ranks: int, layouts: list[str]) -> None:
    """Two steps, a checkpoint, two more: the bits of four in a row; only adapters are saved, and the base stays."""
    for ended in python_ranks(TRAIN_AND_RESUME, layouts, ranks=ranks, meeting=folder / "meeting"):
        assert ended.returncode == 0, ended.stderr
    for layout in layouts:
        saved = [folder / name / layout / "checkpoints/step-00000004" for name in ("whole", "again")]
        whole, again = map(CheckpointReader, saved)
        lora = LoraConfig.model_validate({"rank": 4, "dora": "dora=true" in layout})
        assert set(whole.names()) == set(lora.shapes(CONFIG))
        for name in whole.names():
            states = whole.manifest.parameters[name].states
            assert set(states) == {"master", "exp_avg", "exp_avg_sq"} == set(again.manifest.parameters[name].states)
            for state in states:
                assert whole.tensor(name, state).equal(again.tensor(name, state)), (layout, name, state)


def train(clapas: Clapas, folder: Path, run: str, *overrides: object, code: int = 0) -> str:
    """Train in folder/run; returns what it said."""
    result = clapas("train", "recipe.yaml", f"run_dir={run}", *overrides, cwd=folder)
    assert result.returncode == code, result.stderr
    return result.stderr


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_json_lines(run / "metrics.jsonl") if "split" not in row]


def test_ranks_and_stage_may_change_and_the_base_must_stay(clapas: Clapas, folder: Path) -> None:
    """Two ranks at ZeRO-3, then one at ZeRO-1: the losses of one rank. Without its base, or on another, no step."""
    train(clapas, folder, "whole")
    train(clapas, folder, "parts", "--nproc", 2, "parallel.zero_stage=3", "train.steps=2")
    shutil.move(folder / "base", folder / "gone")
    assert "model.from" in train(clapas, folder, "parts", code=2)
    write_model(folder / "base", seed=2)
    assert "another run" in train(clapas, folder, "parts", code=2)
    shutil.rmtree(folder / "base")
    shutil.move(folder / "gone", folder / "base")
    train(clapas, folder, "parts")
    assert losses(folder / "parts") == pytest.approx(losses(folder / "whole"), rel=1e-5)
    assert losses(folder / "whole")[3] < losses(folder / "whole")[0]
    assert all(map(is_adapter, CheckpointReader(find_checkpoint(folder / "whole")).names()))


def test_the_checkpoints_tools_know_what_it_holds(clapas: Clapas, folder: Path) -> None:
    """`list`, `verify` and `diff` read adapters as they read models; a mean of adapters is no mean of models."""
    train(clapas, folder, "run", "train.steps=2", "checkpoint.every=1")
    for verb in ("list", "verify"):
        result = clapas("checkpoint", verb, "run", "--json", cwd=folder)
        assert [row["problem"] for row in orjson.loads(result.stdout)] == [None, None]
    steps = [f"run/checkpoints/step-0000000{step}" for step in (1, 2)]
    differing = clapas("checkpoint", "diff", *steps, "--json", cwd=folder)
    assert orjson.loads(differing.stdout)["states"]["master"]["different"] == 28  # A and B of 14 projections
    refused = clapas("checkpoint", "soup", *steps, "--out", "soup", cwd=folder)
    assert refused.returncode == 2
    assert "adapters" in refused.stderr


@pytest.mark.parametrize(
    ("override", "told"),
    [("lora.quantize=nf4", "no GPU"), ("lora.from=base", "adapter_config.json"), ("model.vocab_size=300", "new ids")],
    ids=["4 bits", "no adapter", "new ids"],
)
def test_what_cannot_be_is_refused_before_a_run_begins(clapas: Clapas, folder: Path, override: str, told: str) -> None:
    """One message."""
    assert told in train(clapas, folder, "run", override, code=2)
    assert not (folder / "run/checkpoints").exists()


def test_adapters_on_random_weights_are_refused() -> None:
    """Training them would teach nothing that anybody could use."""
    with pytest.raises(UserError, match=r"adapters need a model to adapt(?s:.*)model.from=FOLDER"):
        with_adapter_seal(Recipe.model_validate(RECIPE | {"model": CONFIG.facts()}))
