"""`clapas plan`: what it says, what it refuses, and that it says it at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clapas.plan.overrides import overrides_of
from clapas.plan.plan import plan
from clapas.plan.search import candidate
from clapas.plan.setup import setup_of
from clapas.plan.shape import shape_of
from clapas.plan.show import BAR, plan_table
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe
from commands import Clapas

SEVEN_B = """
name: fr-7b
model:
  hidden_size: 4096
  num_hidden_layers: 32
  num_attention_heads: 32
  num_key_value_heads: 8
  intermediate_size: 11008
  vocab_size: 65536
  max_position_embeddings: 4096
data: {path: x, sequence_length: 4096}
train: {tokens: 1000000000000, global_batch_size: 1024}
precision: bf16
"""


@pytest.fixture
def seven_b(tmp_path: Path) -> Path:
    """A recipe of 6.2 billion parameters."""
    path = tmp_path / "7b.yaml"
    path.write_text(SEVEN_B)
    return path


def planned(path: Path, *overrides: str, **options: Any) -> dict[str, Any]:
    """The plan of a recipe on 16 nodes of Jean Zay's H100, unless told otherwise."""
    options = {"site": "jean-zay", "nodes": 16, **options}
    return plan(read_recipe(path, overrides), options.pop("site"), options.pop("nodes"), **options)


def test_layouts_are_ranked_fit_and_train(seven_b: Path) -> None:
    """The proposed layouts fit, the fastest first, and each is a valid recipe; the others say why not."""
    found = planned(seven_b)
    layouts = found["layouts"]
    rates = [layout["tokens_per_second_per_gpu"] for layout in layouts]
    assert rates == sorted(rates, reverse=True)
    for layout in layouts:
        assert layout["memory_bytes"] == pytest.approx(sum(layout["memory_components"].values()))
        assert layout["memory_bytes"] < 0.95 * 80e9
        read_recipe(seven_b, layout["overrides"])
    assert all(one["problem"] for one in found["others"])
    without_zero = [one for one in found["others"] if "parallel.zero_stage=0" in one["overrides"]]
    assert any("moments" in one["problem"] or "GB of 80 GB" in one["problem"] for one in without_zero)


def test_a_layouts_figures_belong_together(seven_b: Path) -> None:
    """Days, GPU-hours, energy, carbon and MFU follow from tokens a second by what the plan states."""
    found = planned(seven_b)
    best = found["layouts"][0]
    assert best["step_parts"]["launching"] == 0
    hours = found["tokens"] / best["tokens_per_second_per_gpu"] / 3600
    assert best["gpu_hours"] == pytest.approx(hours / (1 - best["stall"] - best["lost"]), rel=0.01)
    assert best["days"] == pytest.approx(best["gpu_hours"] / 64 / 24)
    assert best["kwh"] == pytest.approx(best["gpu_hours"] * 0.7 * 1.3 * 1.2)
    assert best["kgco2e"] == pytest.approx(best["kwh"] * 0.057)
    flops = read_recipe(seven_b).model.flops_per_token(4096)
    assert best["mfu"] == pytest.approx(best["tokens_per_second_per_gpu"] * flops / 989.4e12)
    assert best["disk"] == pytest.approx(3 * 12 * found["parameters"])  # two kept, one being written


def test_the_shape_counts_as_the_model_does() -> None:
    """Parameters and FLOPs of every architecture are those of `ModelConfig`."""
    base = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    base |= {"intermediate_size": 96, "vocab_size": 128, "max_position_embeddings": 64}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    for extra in (
        {},
        {"tie_word_embeddings": True},
        {"architecture": "qwen2"},
        {"architecture": "qwen3"},
        {"architecture": "qwen3_moe", **experts},
    ):
        values = {"name": "x", "model": {**base, **extra}, "data": {"path": "x", "sequence_length": 64}}
        recipe = Recipe.model_validate(values | {"train": {"steps": 1, "global_batch_size": 1}})
        assert shape_of(recipe).size == recipe.model.parameters()
        assert shape_of(recipe).flops_per_token(64) == recipe.model.flops_per_token(64)


def test_more_ranks_need_less_memory_and_checkpointing_is_slower(seven_b: Path) -> None:
    """What everyone knows of ZeRO and of checkpointing holds in the plan."""
    from clapas.plan.hardware import device_named

    recipe, device = read_recipe(seven_b), device_named("H100")
    shape = shape_of(recipe)

    def total(ranks: int, *overrides: str) -> Any:
        one = read_recipe(seven_b, ["train.micro_batch_size=1", *overrides])
        return candidate(shape, setup_of(one, ranks, 4), device, 1600)

    stages = [total(64, f"parallel.zero_stage={stage}").memory.total for stage in (1, 2, 3)]
    assert stages == sorted(stages, reverse=True)
    assert total(64, "parallel.zero_stage=3").memory.total < total(8, "parallel.zero_stage=3").memory.total
    full = total(64, "parallel.zero_stage=2", "compute.activation_checkpointing=full")
    none = total(64, "parallel.zero_stage=2")
    assert full.memory.total < none.memory.total
    assert full.tokens_per_second_per_gpu < none.tokens_per_second_per_gpu
    assert overrides_of(full.setup, read_recipe(seven_b))[1] == "compute.activation_checkpointing=full"


def test_a_small_model_waits_for_its_host() -> None:
    """The demo on an H100: launching its operations takes longer than computing them; a 7B model is not so."""
    best = plan(read_recipe("demo", ["precision=bf16"]), "jean-zay", 1)["layouts"][0]
    assert best["step_parts"]["launching"] > 0.5 * best["step_seconds"]
    assert best["mfu"] < 0.05


def test_bars_are_as_long_as_the_memory(seven_b: Path) -> None:
    """Each layout has a bar, whose letters fill the share of the device that its memory does."""
    found = planned(seven_b)
    bars = [line.split("|") for line in plan_table(found).splitlines() if line.count("|") == 2]
    assert len(bars) == len(found["layouts"])
    for (_, bar, _), layout in zip(bars, found["layouts"], strict=True):
        share = layout["memory_bytes"] / layout["memory_available_bytes"]
        assert len(bar.strip()) == pytest.approx(share * BAR, abs=1)


@pytest.mark.parametrize(
    ("overrides", "options", "said"),
    [
        ([], {"site": "jean-zey"}, r"jean-zey: no such file[\s\S]*jean-zay"),
        ([], {"nodes": 0}, "--nodes: no nodes"),
        ([], {"partition": "h200"}, "one of: h100, a100"),
        ([], {"site": "meso-lr"}, "template"),
        ([], {"partition": "v100-32g"}, r"V100 32GB has no bf16[\s\S]*precision=fp16"),
        (
            ["model.num_hidden_layers=320"],
            {"nodes": 1},
            r"fits nowhere on 1 node[\s\S]*smallest layout that would: \d+ nodes",
        ),
    ],
)
def test_mistakes_are_told(seven_b: Path, overrides: list[str], options: dict[str, Any], said: str) -> None:
    """Unknown site or partition, no nodes, a template, bf16 on a V100, too few samples, a model that fits nowhere."""
    with pytest.raises(UserError, match=said):
        planned(seven_b, *overrides, **options)


def test_a_layout_that_the_ranks_cannot_make_is_told(seven_b: Path) -> None:
    """The recipe as written may not do where others do: the plan says so and goes on."""
    found = planned(seven_b, "parallel.tensor=8", nodes=1)
    assert "whole copies" in found["as_written"]["problem"]
    assert found["layouts"]


def test_an_unknown_device_is_told(seven_b: Path, tmp_path: Path) -> None:
    """A site's device must have an entry in the hardware sheet."""
    site = tmp_path / "mine.yaml"
    site.write_text((Path(__file__).parents[2] / "slurm/sites/local.yaml").read_text().replace("CPU", "H10"))
    with pytest.raises(UserError, match=r"no such device[\s\S]*did you mean H100"):
        planned(seven_b, site=str(site))


def test_the_command(clapas: Clapas, seven_b: Path) -> None:
    """JSON on request, one message and exit 2 for a mistake."""
    done = clapas(
        "plan", seven_b, "--site", "adastra", "--nodes", 32, "--partition", "mi300", "--json", cwd=seven_b.parent
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"] == "MI300A"
    wrong = clapas("plan", seven_b, "--site", "adastra", "--nodes", "0", cwd=seven_b.parent)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_no_torch_and_within_a_second(seven_b: Path) -> None:
    """Planning for 64 nodes takes under a second of processor time, imports included, and no torch."""
    code = (
        "import resource, sys\n"
        "from clapas.plan.plan import plan\n"
        "from clapas.recipe.recipe import read_recipe\n"
        f"plan(read_recipe({str(seven_b)!r}), 'jean-zay', 64)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print('torch' in sys.modules, used.ru_utime + used.ru_stime)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed[0] == "False"
    assert float(printed[1]) < 1.0
