"""A run that begins with another model's weights: exactly these, at any ZeRO stage, and it is known by them."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
import torch
import yaml
from benchmarks.first_weights import measure, shape, write_base
from safetensors.torch import load_file, save_file
from tests.evaluate.small import CONFIG, write_model

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.ledger.ledger import read_json_lines
from clapas.model.config import ModelConfig
from clapas.model.cpu import multiplying
from clapas.model.source import open_source
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas.release.import_model import import_model
from clapas.train.first_weights import record_seal, with_first_weights
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


QUICK = [
    *(f"parallel.zero_stage={stage}" for stage in range(4)),
    *(f"parallel.zero_stage={stage} precision=bf16" for stage in (1, 3)),
    f"parallel.zero_stage=3 {FREEZE}",
]
REST = [
    *(f"parallel.zero_stage={stage} precision=bf16" for stage in (0, 2)),
    f"parallel.zero_stage=2 {FREEZE}",
    "parallel.zero_stage=3 precision=fp16",
    "parallel.zero_stage=1 parallel.offload=cpu",
    "parallel.zero_stage=3 parallel.offload=cpu parallel.offload_parameters=true",
]
TENSOR = [f"parallel.zero_stage={stage} parallel.tensor=2" for stage in (1, 3)]
"""Each in processes of its own, for DeepSpeed keeps its groups."""


@pytest.mark.parametrize(
    ("architecture", "layouts"),
    [
        pytest.param("llama", QUICK, id="quick"),
        pytest.param("llama", REST, id="rest", marks=pytest.mark.slow),
        *(pytest.param("qwen2", [layout], id=f"qwen2 {layout}", marks=pytest.mark.slow) for layout in TENSOR),
    ],
)
def test_masters_and_logits_are_the_bases(folder: Path, architecture: str, layouts: list[str]) -> None:
    """Every bit of every parameter, frozen ones included, in engines of two ranks; in fp32 every bit of the logits."""
    model = write_model(folder / "base", ModelConfig.model_validate({**CONFIG.facts(), "architecture": architecture}))
    shard(folder / "base")
    out = load(folder, *layouts)
    with torch.no_grad(), multiplying(by_onednn=False):  # as the ranks do, whatever a test before has set here
        logits = model(torch.arange(64)[None])
    for layout in layouts:
        reader = CheckpointReader(find_checkpoint(out / layout))
        for name, parameter in model.named_parameters():
            assert torch.equal(reader.tensor(name), parameter), f"{layout}: {name}"
        found = torch.load(out / f"{layout}.pt")
        if "precision" in layout:
            assert (found - logits).abs().max() < 0.1, layout
        elif "tensor" in layout:
            torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(found, logits), layout


def train(clapas: Clapas, folder: Path, run: str, *overrides: object) -> list[tuple[float, float]]:
    """Train in folder/run; returns loss and gradient norm of each step."""
    result = clapas("train", "recipe.yaml", f"run_dir={run}", *overrides, cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = [row for row in read_json_lines(folder / run / "metrics.jsonl") if "split" not in row]
    return [(row["loss"], row["grad_norm"]) for row in rows]


def test_a_run_goes_on_when_its_base_has_gone_and_refuses_another(clapas: Clapas, folder: Path) -> None:
    """Two steps, then two more without the base: the losses of four in a row at ZeRO-3. Other weights: another run."""
    average = "optimizer.ema_decay=0.9"
    whole = train(clapas, folder, "whole", "--nproc", 2, "parallel.zero_stage=3", average)
    train(clapas, folder, "parts", "train.steps=2", average)
    shutil.move(folder / "base", folder / "gone")
    parts = train(clapas, folder, "parts", average)
    assert parts == [pytest.approx(row, rel=1e-5) for row in whole]
    resolved = yaml.safe_load((folder / "parts/recipe.yaml").read_text())["model"]
    assert resolved["from"] == "base"
    assert resolved["hidden_size"] == CONFIG.hidden_size
    assert resolved["from_seal"]
    write_model(folder / "base", seed=2)
    result = clapas("train", "recipe.yaml", "run_dir=parts", "train.steps=5", average, cwd=folder)
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


def test_what_is_not_there_is_told_before_a_rank_starts(clapas: Clapas, folder: Path) -> None:
    """Also where the recipe says every size, which is enough to plan by."""
    shutil.move(folder / "base", folder / "gone")
    sizes = [f"model.{key}={value}" for key, value in CONFIG.facts().items() if value is not None]
    planned = clapas("plan", "recipe.yaml", *sizes, "--site", "jean-zay", "--nodes", 1, cwd=folder)
    assert planned.returncode == 0, planned.stderr
    refused = clapas("train", "recipe.yaml", *sizes, cwd=folder)
    assert refused.returncode == 2
    assert "model.from: found base, which is not there" in refused.stderr
    assert not (folder / "run").exists()


def test_a_size_that_contradicts_the_base_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer texts and more ids may differ; another width or fewer ids may not."""
    monkeypatch.chdir(folder)
    longer = read_recipe("recipe.yaml", ["model.max_position_embeddings=4096", "model.vocab_size=300"])
    assert (longer.model.max_position_embeddings, longer.model.vocab_size) == (4096, 300)
    with pytest.raises(UserError) as caught:
        read_recipe("recipe.yaml", ["model.hidden_size=48", "model.vocab_size=100"])
    for said in ("command line: ", "model.hidden_size: found 48; the model of model.from has 32", "model.vocab_size"):
        assert said in str(caught.value)


def test_a_run_keeps_the_checkpoint_that_it_began_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far the run that wrote it goes; also when it has gone. A new run begins with the newest."""
    monkeypatch.chdir(folder)
    first = import_model(Path("base"), Path("stem"))
    begun = with_first_weights(read_recipe("recipe.yaml", ["model.from=stem"]))
    seal = (first / "COMMITTED").read_text().strip()
    assert (begun.model.from_, begun.model.from_seal) == (first, seal)
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(begun.to_yaml())
    write_model(folder / "other", seed=2)
    second = import_model(Path("other"), Path("later")).rename("stem/checkpoints/step-00000009")
    again = read_recipe("recipe.yaml", ["model.from=stem"])
    assert with_first_weights(again).identity("") == begun.identity("")
    assert with_first_weights(again.model_copy(update={"run_dir": Path("new")})).model.from_ == second
    shutil.rmtree(first)
    assert with_first_weights(again).identity("") == begun.identity("")


def test_files_are_hashed_again_only_when_they_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the record says of files of the same size and time is believed; the seal is of their content alone."""
    monkeypatch.chdir(folder)
    recipe = read_recipe("recipe.yaml")
    sealed = with_first_weights(recipe)
    assert sealed.identity("")["from"] == {"seal": sealed.model.from_seal}
    Path("run").mkdir()
    record_seal(sealed, open_source(Path("base")))
    record = orjson.loads(Path("run/first_weights.json").read_bytes())
    Path("run/first_weights.json").write_bytes(orjson.dumps({**record, "seal": "believed"}))
    assert with_first_weights(recipe).model.from_seal == "believed"
    shutil.copytree("base", "moved", copy_function=shutil.copyfile)
    moved = read_recipe("recipe.yaml", ["model.from=moved", "run_dir=elsewhere"])
    assert with_first_weights(moved).model.from_seal == sealed.model.from_seal
    file = Path("moved/model-00002-of-00002.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="not the weights that the run begins with"):
        with_first_weights(
            read_recipe("recipe.yaml", ["model.from=moved", f"model.from_seal={sealed.model.from_seal}"])
        )


@pytest.mark.slow
def test_no_rank_holds_the_model_while_it_is_built(tmp_path: Path) -> None:
    """Two ranks at ZeRO-3 in bf16 hold a quarter of its fp32 size each, libraries aside, and a module beside."""
    config = shape()
    write_base(tmp_path / "base", config)
    for rank in measure(config, 2, begun=True, precision="bf16", folder=tmp_path):
        assert rank["built"] < 0.7 * 4 * config.parameters()
        assert rank["peak"] < rank["after"] + 0.2 * 4 * config.parameters()
