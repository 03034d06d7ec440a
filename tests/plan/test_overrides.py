"""What `clapas plan` proposes trains as it says, whatever the recipe says itself; what training refuses it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clapas.engine.deepspeed_config import deepspeed_config
from clapas.plan.hardware import device_named
from clapas.plan.overrides import changed, overrides_of
from clapas.plan.plan import plan
from clapas.plan.search import needs_of, search
from clapas.plan.setup import Setup, setup_of
from clapas.plan.shape import shape_of
from clapas.plan.show import plan_table
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe

SMALL = """
name: small
model:
  hidden_size: 2048
  num_hidden_layers: 18
  num_attention_heads: 16
  num_key_value_heads: 8
  intermediate_size: 5632
  vocab_size: 65536
  max_position_embeddings: 8192
data: {path: x, sequence_length: 4096}
train: {global_batch_size: 48}
stages:
  - {tokens: 1000000000, global_batch_size: 96}
  - {tokens: 1000000000, global_batch_size: 32, sequence_length: 8192}
precision: bf16
"""
FAR = ["parallel.zero_stage=3", "parallel.tensor=2", "compute.tiled_mlp=1024"]
ON_HOST = ["parallel.zero_stage=3", "parallel.offload=cpu", "parallel.offload_parameters=true"]
QUANTIZED = ["parallel.zero_stage=3", "parallel.hpz=4", "parallel.quantized_weights=true", "parallel.sequence=2"]
MICRO = ["train.micro_batch_size=2", "stages.0.micro_batch_size=3"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe of a billion parameters and two stages of different batches and lengths."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("own", [FAR, ON_HOST, QUANTIZED, MICRO, ["compute.compile=true", "optimizer.name=muon"]])
def test_proposed_overrides_undo_the_recipes_own(small: Path, own: list[str]) -> None:
    """Laid over the recipe's own, each proposal gives the layout it was judged as, which training takes on its ranks.

    In every stage: the micro-batch too.
    """
    recipe = read_recipe(small, own)
    setup = setup_of(recipe, 8, 4)
    found = search(shape_of(recipe), setup, needs_of(recipe), device_named("H100"), 1600)
    facts = plan(recipe, "jean-zay", 2)["layouts"]
    proposed: list[Setup] = [one.setup for one in found if one.problem is None][: len(facts)]
    assert len(facts) == 5
    for layout, wanted in zip(facts, proposed, strict=True):
        for overrides in (layout["overrides"], changed(layout["overrides"], recipe)):
            laid_over = read_recipe(small, [*own, *overrides])
            assert setup_of(laid_over, 8, 4) == wanted
            assert {phase.micro_batch_size for phase in laid_over.phases} == {wanted.micro_batch}
            deepspeed_config(laid_over, 8)  # raises where training would


def test_every_kind_that_runs_is_one_that_training_takes(small: Path) -> None:
    """All layouts that the search calls good, of every kind: none is refused on its ranks."""
    recipe = read_recipe(small, ["train.micro_batch_size=2"])
    found = search(shape_of(recipe), setup_of(recipe, 16, 4), needs_of(recipe), device_named("H100"), 1600)
    good = [one for one in found if one.problem is None]
    assert {one.setup.zero_stage for one in good} == {1, 2, 3}  # without ZeRO no micro-batch is both stages' whole
    assert {one.setup.hpz for one in good} == {1, 4}
    for one in good:
        deepspeed_config(read_recipe(small, ["train.micro_batch_size=2", *overrides_of(one.setup, recipe)]), 16)


@pytest.mark.parametrize(
    ("own", "nodes", "said"),
    [
        (["train.micro_batch_size=2", "stages.0.micro_batch_size=32"], 1, r"does not run: .*micro_batch_size does not"),
        (["train.micro_batch_size=16"], 1, r"does not run: .*leave 24 each"),
        (["train.micro_batch_size=1", "stages.0.micro_batch_size=24"], 1, "does not fit: needs "),
        ([], 16, "does not run: stages.0.*96 samples on 64 ranks"),
    ],
)
def test_as_written_is_judged_in_every_stage(small: Path, own: list[str], nodes: int, said: str) -> None:
    """A micro-batch that training would refuse, a stage that fills the device, a batch for fewer ranks."""
    shown = plan_table(plan(read_recipe(small, own), "jean-zay", nodes))
    assert re.search(said, shown), shown


def test_the_recipe_as_written_does_not_unify_its_stages(small: Path) -> None:
    """Pasted back, what is told of it changes nothing."""
    for own, said in (([], False), (["train.micro_batch_size=2"], True)):
        recipe = read_recipe(small, own)
        overrides = plan(recipe, "jean-zay", 1)["as_written"]["overrides"]
        assert any("micro_batch_size" in one for one in overrides) == said
        assert list(read_recipe(small, [*own, *overrides]).phases) == list(recipe.phases)


def test_a_batch_of_one_stage_alone_bars_a_layout(small: Path) -> None:
    """98 samples cannot be shared by four ranks, though the longest stage's 32 can."""
    facts = plan(read_recipe(small, ["stages.0.global_batch_size=98", "parallel.tensor=2"]), "jean-zay", 1)
    assert facts["layouts"]
    for layout in facts["layouts"]:
        assert "train.micro_batch_size=1" in layout["overrides"]
        assert "parallel.tensor=1" not in layout["overrides"]
    assert any("98 samples cannot be shared equally among 4" in one["problem"] for one in facts["others"])


def test_where_only_the_recipe_itself_fits(tmp_path: Path) -> None:
    """With offload it does what no layout without does: that is the plan. Without, the message is exact."""
    path = tmp_path / "large.yaml"
    path.write_text(SMALL.split("stages:")[0].replace("48}", "96, tokens: 1000000000}") + "precision: bf16\n")
    large = [
        "model.hidden_size=8192",
        "model.num_attention_heads=64",
        "model.intermediate_size=22528",
        "parallel.zero_stage=3",
        "compute.activation_checkpointing=full",
    ]
    large += ["train.micro_batch_size=1", "model.num_hidden_layers=25"]
    found = plan(read_recipe(path, [*large, "parallel.offload=cpu"]), "jean-zay", 1)
    assert found["as_written"]["problem"] is None
    (only,) = found["layouts"]
    assert only["host_bytes"] > 0
    assert not any("offload" in override for override in only["overrides"])
    plan_table(found)
    large.append("model.num_hidden_layers=44")
    with pytest.raises(
        UserError, match=r"fits nowhere on 1 node of [\s\S]*activation_checkpointing=full [\s\S]*, needs"
    ) as told:
        plan(read_recipe(path, large), "jean-zay", 1)
    assert "that would: 3 nodes with zero_stage 3" in str(told.value)  # no power of two
    assert plan(read_recipe(path, large), "jean-zay", 3)["layouts"]
    with pytest.raises(UserError, match="fits nowhere on 2 nodes"):
        plan(read_recipe(path, large), "jean-zay", 2)


@pytest.mark.parametrize(
    ("steps", "keys", "states"),
    [
        (1000, [], 1),  # one is written, at the end
        (1500, ["checkpoint.every=1000"], 2),
        (10_000, ["checkpoint.every=1000"], 3),  # two kept, one being written
        (10_000, ["checkpoint.every=1000", "checkpoint.keep_every=2000"], 8),
        (10_000, ["checkpoint.every=1000", "checkpoint.keep_every=1500"], 6),  # 3000, 6000, 9000
        (3_000, ["checkpoint.every=1000", "checkpoint.keep_every=1000", "checkpoint.keep=10"], 3),
    ],
)
def test_no_more_states_on_disk_than_are_written(small: Path, steps: int, keys: list[str], states: int) -> None:
    """Those kept, those kept for good and the one being written, but at most all that there are."""
    recipe = read_recipe(small, ["stages=null", f"train.steps={steps}", "checkpoint.every=1000", *keys])
    best = plan(recipe, "jean-zay", 1)["layouts"][0]
    assert best["disk"] == pytest.approx(states * 12 * recipe.model.parameters())
