"""A run that begins with another model's weights: exactly these, at any ZeRO stage, and it is known by them."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.evaluate.small import CONFIG, write_model

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines
from commands import Clapas, python_ranks
from tune.examples import conversations, write_folder

RECIPE = {
    "name": "further",
    "run_dir": "run",
    "model": {"from": "base"},
    "data": {"path": "data", "sequence_length": 96, "packing": "best_fit"},
    "optimizer": {"lr": 1e-3},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "train": {"steps": 4, "global_batch_size": 4, "threads": 1},
    "checkpoint": {"every": 2, "keep": 9},
    "evaluation": {"every": 100},
    "telemetry": {"log_every": 1},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in two shards (base), data of its tokenizer (data), and a recipe without any sizes."""
    folder = tmp_path_factory.mktemp("from")
    write_model(folder / "base")
    shard(folder / "base")
    write_folder(folder / "data", folder / "base", conversations(24), held_out=4)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def shard(model: Path) -> None:
    """Cut `model.safetensors` in two, as other tools store large models."""
    tensors = load_file(model / "model.safetensors")
    halves = sorted(tensors)[::2], sorted(tensors)[1::2]
    files = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    for names, file in zip(halves, files, strict=True):
        save_file({name: tensors[name] for name in names}, model / file)
    where = {name: file for names, file in zip(halves, files, strict=True) for name in names}
    (model / "model.safetensors.index.json").write_bytes(orjson.dumps({"metadata": {}, "weight_map": where}))
    (model / "model.safetensors").unlink()


LOAD = """
import os
import sys
from pathlib import Path

import torch

from clapas.checkpoint.saving import write_checkpoint
from clapas.engine.layout import layout_of
from clapas.engine.ranks import start_ranks, stop_ranks
from clapas.engine.state import capture, load_weights
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.freezing import Freezing
from clapas.train.first_weights import open_first_weights
from clapas.train.train import build_engine

out, *layouts = sys.argv[1:]
world = start_ranks()
for layout in layouts:
    recipe = read_recipe("recipe.yaml", layout.split())
    ranks = world.arranged(layout_of(recipe, world.size))
    engine = build_engine(recipe, ranks, [Freezing(recipe)])
    load_weights(engine, open_first_weights(recipe, ranks))
    with torch.no_grad():
        logits = engine(torch.arange(64)[None])
    name = layout.replace("/", "-")
    if ranks.rank == 0:
        torch.save(logits.float(), f"{out}/{name}.pt")
    snapshot, training = capture(engine)
    facts = {"step": 0, "identity": "", "execution": "", "recipe": recipe.model_dump(mode="json"), "versions": {}}
    write_checkpoint(Path(out) / name / "checkpoints", snapshot, {**facts, "training": training}, ranks)
stop_ranks()
os._exit(0)
"""
FREEZE = "train.freeze=['model.embed_tokens.*','model.layers.1.*norm.weight']"


def load(folder: Path, *layouts: str) -> Path:
    """Give the base's weights to engines of two ranks in some layouts, and save what they hold."""
    (folder / "loaded").mkdir(exist_ok=True)
    for ended in python_ranks(LOAD, ["loaded", *layouts], ranks=2, meeting=folder / "meeting"):
        assert ended.returncode == 0, ended.stderr
    return folder / "loaded"


def test_masters_and_logits_are_the_bases_at_every_stage(folder: Path) -> None:
    """Every bit of every parameter, padding and frozen ones included, on two ranks."""
    layouts = [f"parallel.zero_stage={stage}" for stage in range(4)]
    layouts += [f"parallel.zero_stage={stage} precision=bf16" for stage in range(4)]
    layouts += [f"parallel.zero_stage={stage} {FREEZE}" for stage in (2, 3)]
    out = load(folder, *layouts)
    model = write_model(folder / "again")
    with torch.no_grad():
        logits = model(torch.arange(64)[None])
    for layout in layouts:
        reader = CheckpointReader(find_checkpoint(out / layout))
        for name, parameter in model.named_parameters():
            assert torch.equal(reader.tensor(name), parameter), f"{layout}: {name}"
        found = torch.load(out / f"{layout}.pt")
        assert torch.equal(found, logits) if "bf16" not in layout else (found - logits).abs().max() < 0.1


def train(clapas: Clapas, folder: Path, run: str, *overrides: object) -> list[tuple[float, float]]:
    """Train in folder/run; returns loss and gradient norm of each step."""
    result = clapas("train", "recipe.yaml", f"run_dir={run}", *overrides, cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = [row for row in read_json_lines(folder / run / "metrics.jsonl") if "split" not in row]
    return [(row["loss"], row["grad_norm"]) for row in rows]


def test_a_run_goes_on_when_its_base_has_gone_and_refuses_another(clapas: Clapas, folder: Path) -> None:
    """Two steps, then two more without the base: the bits of four in a row on ZeRO-3. Other weights: another run."""
    whole = train(clapas, folder, "whole", "--nproc", 2, "parallel.zero_stage=3")
    train(clapas, folder, "parts", "train.steps=2")
    shutil.move(folder / "base", folder / "gone")
    parts = train(clapas, folder, "parts")
    assert parts == [pytest.approx(row, rel=1e-5) for row in whole]
    resolved = yaml.safe_load((folder / "parts/recipe.yaml").read_text())["model"]
    assert resolved["from"] == "base"
    assert resolved["hidden_size"] == CONFIG.hidden_size
    assert resolved["from_seal"]
    write_model(folder / "base", seed=2)
    result = clapas("train", "recipe.yaml", "run_dir=parts", "train.steps=5", cwd=folder)
    assert result.returncode == 2
    assert "another run" in result.stderr
    assert resolved["from_seal"] in result.stderr


def test_a_plan_needs_nothing_but_the_folder(clapas: Clapas, folder: Path) -> None:
    """No sizes in the recipe: the base's are planned."""
    (folder / "base/model-00001-of-00002.safetensors").unlink()
    overrides = ("precision=bf16", "model.max_position_embeddings=1024")
    result = clapas("plan", "recipe.yaml", *overrides, "--site", "jean-zay", "--nodes", 1, "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert CONFIG.parameters() == orjson.loads(result.stdout)["parameters"]
