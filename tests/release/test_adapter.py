"""A run's adapter in PEFT's format, and merged: the real `peft` and transformers compute our logits of both."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file
from tests.evaluate.small import CONFIG, write_model

from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.evaluate.load import load
from clapas.ledger.ledger import read_json_lines
from clapas.model.lora_config import LoraConfig
from clapas.model.peft_folder import read_adapter
from clapas.recipe.errors import UserError
from commands import Clapas
from tune.examples import conversations, write_folder

RECIPE: dict[str, Any] = {
    "name": "adapters",
    "run_dir": "run",
    "model": {"from": "base"},
    "lora": {"rank": 4},
    "objective": {"name": "sft"},
    "data": {"path": "data", "sequence_length": 96},
    "optimizer": {"lr": 3e-2},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "train": {"steps": 3, "global_batch_size": 4, "threads": 1},
    "checkpoint": {"every": 3},
    "evaluation": {"every": 100},
    "telemetry": {"log_every": 1},
}
KINDS = {
    "lora": ("lora.targets=all-linear",),
    "rslora": ("lora.rslora=true", "lora.targets=[q_proj,v_proj]"),
    "dora": ("lora.dora=true", "lora.alpha=5"),
}
TOKENS = torch.arange(64)[None]
OF_WEIGHTS = (
    *("config.json", "generation_config.json", "model.safetensors"),
    *("adapter_config.json", "adapter_model.safetensors"),
)


SOME = [pytest.param("lora", marks=pytest.mark.slow), "rslora", "dora"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, conversations and a recipe."""
    folder = tmp_path_factory.mktemp("adapter")
    write_model(folder / "base")
    write_folder(folder / "data", folder / "base", conversations(24), held_out=4)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


Runs = Callable[[str], Path]


@pytest.fixture(scope="module")
def runs(base: Path, clapas: Clapas) -> Runs:
    """The folder in which there are, of a kind, a run and both of its exports: run/KIND, merged/KIND, adapter/KIND."""

    @functools.cache
    def made(kind: str) -> Path:
        for command in (
            ("train", "recipe.yaml", f"run_dir=run/{kind}", *KINDS[kind]),
            ("export", f"run/{kind}", "--out", f"merged/{kind}", "--dtype", "fp32"),
            ("export", f"run/{kind}", "--out", f"adapter/{kind}", "--adapter"),
        ):
            result = clapas(*command, cwd=base)
            assert result.returncode == 0, result.stderr
        return base

    return made


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("kind", SOME)
def test_peft_computes_what_the_run_learned(runs: Runs, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapter on base, merged by PEFT, our merged export in transformers and our own load: one model, none its base."""
    monkeypatch.chdir(runs(kind))
    base = transformers.AutoModelForCausalLM.from_pretrained("base")
    plain = logits_of(base)
    wrapped = peft.PeftModel.from_pretrained(base, f"adapter/{kind}")
    theirs = logits_of(wrapped)
    merged = transformers.AutoModelForCausalLM.from_pretrained(f"merged/{kind}", dtype=torch.float32)
    assert (theirs - logits_of(merged)).abs().max() < 1e-5
    with torch.no_grad():
        assert (theirs - load(Path(f"run/{kind}")).model(TOKENS)).abs().max() < 1e-5
    assert (theirs - plain).abs().max() > 0.05
    for name, tensor in wrapped.merge_and_unload().state_dict().items():
        assert (tensor - merged.state_dict()[name]).abs().max() < 1e-6, name


@pytest.mark.parametrize("kind", SOME)
def test_the_folder_is_what_peft_writes(runs: Runs, kind: str, tmp_path: Path) -> None:
    """Every field of its config and every tensor, bit for bit: PEFT writes the same when it saves what it has read."""
    adapter = runs(kind) / "adapter" / kind
    wrapped = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(runs(kind) / "base"), adapter
    )
    wrapped.save_pretrained(str(tmp_path))
    ours, theirs = (json.loads((at / "adapter_config.json").read_text()) for at in (adapter, tmp_path))
    ours["target_modules"], theirs["target_modules"] = sorted(ours["target_modules"]), sorted(theirs["target_modules"])
    theirs["base_model_name_or_path"] = "base"  # it has the place from which the base was read
    assert ours == theirs
    tensors = [load_file(at / "adapter_model.safetensors") for at in (adapter, tmp_path)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(tensor.equal(tensors[1][name]) for name, tensor in tensors[0].items())


def test_the_tokenizer_goes_with_the_adapter(runs: Runs) -> None:
    """The base often has no chat template: the run's tokenizer is beside the adapter, as beside the merged model."""
    adapter, merged = (
        {file.name: file.read_bytes() for file in (runs("dora") / at).iterdir() if file.name not in OF_WEIGHTS}
        for at in ("adapter/dora", "merged/dora")
    )
    assert "tokenizer.json" in adapter
    assert adapter == merged


def test_an_adapter_alone_is_no_model(runs: Runs, clapas: Clapas) -> None:
    """Where a model is asked for, the message says what it is and what to give instead."""
    folder = runs("dora")
    with pytest.raises(UserError, match="an adapter alone: export its run"):
        load(folder / "adapter/dora")
    result = clapas("train", "recipe.yaml", "model.from=adapter/dora", "run_dir=none", cwd=folder)
    assert (result.returncode, "lora.from=adapter/dora" in result.stderr) == (2, True), result.stderr


def test_bf16_is_rounded_once(runs: Runs, clapas: Clapas) -> None:
    """The merged fp32 weights rounded to nearest even, not a sum of rounded parts."""
    folder = runs("dora")
    result = clapas("export", "run/dora", "--out", "rounded", cwd=folder)
    assert result.returncode == 0, result.stderr
    rounded, exact = (load_file(folder / at / "model.safetensors") for at in ("rounded", "merged/dora"))
    assert all(tensor.equal(exact[name].bfloat16()) for name, tensor in rounded.items())


def test_a_run_begins_with_an_adapter(runs: Runs, clapas: Clapas) -> None:
    """`lora.from`: its first loss is that of the adapter's model, and its masters are PEFT's tensors."""
    folder = runs("dora")
    more = ("lora.dora=true", "lora.alpha=5", "lora.from=adapter/dora", "optimizer.lr=1e-12", "train.steps=1")
    result = clapas("train", "recipe.yaml", "run_dir=more", *more, cwd=folder)
    assert result.returncode == 0, result.stderr
    after = read_json_lines(folder / "run/dora/metrics.jsonl")
    first = read_json_lines(folder / "more/metrics.jsonl")
    held_out = [next(row["loss"] for row in rows if "split" in row) for rows in (after, first)]
    assert held_out[1] == pytest.approx(held_out[0], rel=1e-6)
    reader = CheckpointReader(find_checkpoint(folder / "more"))
    stored = load_file(folder / "adapter/dora/adapter_model.safetensors")
    assert all(
        torch.allclose(reader.tensor(name), stored[f"base_model.model.{name}"], atol=1e-9) for name in reader.names()
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [("lora.rank=8", "lora.rank=4"), ("lora.rslora=true", "use_rslora"), ("lora.targets=q_proj", "lora.targets")],
    ids=["rank", "scaling", "targets"],
)
def test_another_adapter_than_the_recipes_is_refused(runs: Runs, clapas: Clapas, override: str, told: str) -> None:
    """By the name of the field, with the way out."""
    same = ("lora.dora=true", "lora.alpha=5", "lora.from=adapter/dora")
    result = clapas("train", "recipe.yaml", "run_dir=other", *same, override, cwd=runs("dora"))
    assert result.returncode == 2
    assert told in result.stderr


def test_what_has_no_adapter_and_what_lost_its_base_are_refused(runs: Runs, clapas: Clapas, tmp_path: Path) -> None:
    """`--adapter` of a whole model; and a merged export without the model that the run began with."""
    folder = runs("dora")
    plain = clapas("train", "recipe.yaml", "run_dir=plain", "lora=null", "train.steps=1", cwd=folder)
    assert plain.returncode == 0, plain.stderr
    result = clapas("export", "plain", "--out", "none", "--adapter", cwd=folder)
    assert (result.returncode, "no adapter" in result.stderr) == (2, True)
    shutil.copytree(folder / "data", tmp_path / "data")  # the tokenizer is there, the base is not
    elsewhere = clapas("export", folder / "run/dora", "--out", "none", cwd=tmp_path)
    assert (elsewhere.returncode, "needs the model" in elsewhere.stderr) == (2, True), elsewhere.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_stretched_positions_are_not_left_out(runs: Runs, clapas: Clapas) -> None:
    """An adapter of a run with another base for its positions is refused, for PEFT would compute other logits."""
    folder = runs("rslora")
    stretched = clapas("train", "recipe.yaml", "run_dir=long", "model.rope_theta=5e4", "train.steps=1", cwd=folder)
    assert stretched.returncode == 0, stretched.stderr
    result = clapas("export", "long", "--out", "alone", "--adapter", cwd=folder)
    assert (result.returncode, "rope_theta: 50000.0" in result.stderr) == (2, True), result.stderr
    assert not (folder / "alone").exists()


def test_an_adapter_of_a_changed_base_is_refused(runs: Runs, tmp_path: Path) -> None:
    """PiSSA takes the adapter's first product out of the base: on the base itself it would count twice."""
    shutil.copytree(runs("rslora") / "adapter/rslora", tmp_path / "adapter")
    path = tmp_path / "adapter/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "init_lora_weights": "pissa_niter_4"}))
    lora = LoraConfig.model_validate({"rank": 4, "rslora": True, "targets": ["q_proj", "v_proj"]})
    with pytest.raises(UserError, match="another base"):
        read_adapter(path.parent, lora, lora.shapes(CONFIG))


@pytest.mark.parametrize("option", [("--dtype", "bf16"), ("--shard-size", "1GB"), ("--keep-padding",)])
def test_what_an_adapter_has_no_use_for_is_refused(clapas: Clapas, tmp_path: Path, option: tuple[str, ...]) -> None:
    """An option of a whole model beside --adapter is not passed over in silence."""
    result = clapas("export", "run", "--out", "out", "--adapter", *option, cwd=tmp_path)
    assert result.returncode == 2
    assert f"{option[0]}: {option[0]} is of a whole model" in result.stderr
    assert not (tmp_path / "out").exists()
