"""Mixtures by rules: temperature, budgets and caps become whole shares, on the manifest and the recipe alone."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clapas.loader.mixture import LONGEST_PERIOD
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.learning_rate import same_past
from clapas_data.manifest import Manifest
from corpora import entries_of, manifest_of
from small_model import MODEL

CORPUS = manifest_of(entries_of({"web": [100_000], "law": [1601], "books": [20_000]}))
WEIGHTS = {"web": 0.5, "law": 0.3, "books": 0.2}


def recipe_of(data: dict[str, Any], **length: Any) -> Recipe:
    """A recipe of batches of 8 samples of 16 tokens."""
    values: dict[str, Any] = {
        "name": "small",
        "model": MODEL,
        "data": {"path": "data", "sequence_length": 16, **data},
        "train": {"global_batch_size": 8, **{key: length[key] for key in length if key != "stages"}},
        "schedule": {"name": "constant"},
        "stages": length.get("stages"),
    }
    return Recipe.model_validate(values)


def plan_of(data: dict[str, Any], manifest: Manifest = CORPUS, **length: Any) -> DataPlan:
    """The plan of such a recipe."""
    return DataPlan.of_recipe(recipe_of(data, **length), manifest)


def shares(plan: DataPlan, stretch: int = 0) -> dict[str, float]:
    """Each source's part of a stretch."""
    mixture = plan.stretches[stretch].mixture
    assert mixture is not None
    return {name: share / mixture.period for name, share in mixture.shares.items()}


def test_a_recipe_without_rules_is_the_run_that_it_was() -> None:
    """Hashes and order as computed before there were any rules."""
    manifest = manifest_of(entries_of({"web": [1000, 50], "law": [301], "books": [200]}))
    stages = [
        {"steps": 5},
        {"tokens": 1000, "mixture": {"books": 1, "law": 2}},
        {"steps": 3, "sequence_length": 8},
    ]
    values = recipe_of({"mixture": {"web": 0.7, "law": 0.3}}, stages=stages).model_dump()
    recipe = Recipe.model_validate({**values, "name": "s", "data": {**values["data"], "path": "d"}})
    plan = DataPlan.of_recipe(recipe, manifest)
    assert plan.hash == "04c053285f35d3a926f8d0893666f06935f368a58b119410e4c3604db581f368"
    assert recipe.identity_hash(plan.hash) == "7e2ab02e78bd14a4b2f2e25e9ba6fe20846f1ea42543102c1372fcf5a411ef66"
    read = repr([[tuple(span) for span in plan.spans(index)] for index in range(100)])
    assert hashlib.sha256(read.encode()).hexdigest().startswith("59c73123b0f926c3")
    assert plan.shares == ()


def test_a_cap_that_nothing_reaches_changes_nothing() -> None:
    """Neither with weights, nor where all sources are one stream: hash for hash."""
    for data in ({"mixture": WEIGHTS}, {}):
        capped = plan_of({**data, "max_epochs": 100}, tokens=100_000)
        assert capped.hash == plan_of(data, tokens=100_000).hash
        assert capped.spans(77) == plan_of(data, tokens=100_000).spans(77)


@settings(deadline=None, max_examples=60)
@given(
    tokens=st.lists(st.integers(40, 30_000), min_size=1, max_size=5),
    data=st.data(),
    steps=st.integers(1, 400),
)
def test_no_source_goes_over_its_cap_and_the_others_keep_their_proportions(
    tokens: list[int], data: st.DataObject, steps: int
) -> None:
    """Exactly, for any sources, weights and caps; refused only where all caps together are less than the run."""
    names = [f"s{number}" for number in range(len(tokens))]
    weights = {name: data.draw(st.integers(1, 50)) for name in names}
    caps = {name: data.draw(st.sampled_from([0.5, 1, 2.5, 4])) for name in names if data.draw(st.booleans())}
    assume(caps)
    manifest = manifest_of(entries_of({name: [count] for name, count in zip(names, tokens, strict=True)}))
    epoch = {name: -(-(count - 1) // 16) for name, count in zip(names, tokens, strict=True)}
    most = {name: int(cap * epoch[name]) for name, cap in caps.items()}
    rules = {"mixture": weights, "max_epochs_by_source": caps}
    if len(most) == len(names) and sum(most.values()) < 8 * steps:
        with pytest.raises(UserError, match="every source reaches its cap"):
            plan_of(rules, manifest, steps=steps)
        return
    plan = plan_of(rules, manifest, steps=steps)
    stretch = plan.stretches[0]
    drawn = stretch.drawn_until(8 * steps)
    assert sum(drawn.values()) == 8 * steps
    free = {name: weights[name] for name in names if "capped" not in plan.shares[0].why.get(name, "")}
    if len(free) == len(names):
        assert plan.hash == plan_of({"mixture": weights}, manifest, steps=steps).hash
        return
    for name in names:
        assert drawn.get(name, 0) <= most.get(name, 8 * steps)
        if name not in free:
            assert drawn.get(name, 0) == most[name]
    rest = 8 * steps - sum(most[name] for name in names if name not in free)
    for name in free:
        assert abs(drawn.get(name, 0) - rest * weights[name] / sum(free.values())) <= len(names)


def test_a_temperature_makes_the_weights_of_the_tokens() -> None:
    """Tokens to the power of 1 / T: at 1 as large as they are, at 2 their roots."""
    sizes = {"web": 100_000, "law": 1601, "books": 20_000}
    for temperature in (1, 2, 3.33):
        weights = {name: size ** (1 / temperature) for name, size in sizes.items()}
        wanted = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        plan = plan_of({"temperature": temperature}, tokens=400_000)
        assert shares(plan) == pytest.approx(wanted, abs=1 / 65_536)
        assert plan.hash == plan_of({"temperature": temperature}, tokens=500_000).hash  # and so a run may be longer


def test_a_budget_is_exact_and_the_others_share_the_rest() -> None:
    """To the sample; in a stage with budgets alone, they are the stage."""
    plan = plan_of({"mixture": WEIGHTS, "token_budgets": {"law": 3200}}, tokens=102_400)
    assert plan.stretches[0].drawn_until(6400) == {"law": 200, "web": 6200 * 5 // 7 + 1, "books": 6200 * 2 // 7}
    stages = [{"tokens": 1280, "token_budgets": {"law": 320, "web": 960}}]
    all_budgets = plan_of({"mixture": {"books": 1}}, stages=stages)
    assert all_budgets.stretches[0].drawn_until(80) == {"law": 20, "web": 60}
    assert all_budgets.shares[0].why["books"] == "left out: the budgets leave nothing"
    with pytest.raises(UserError, match=r"data\.token_budgets: the budgets are more than the stage has"):
        plan_of({"token_budgets": {"law": 3200, "web": 100_000}}, tokens=100_000)
    with pytest.raises(UserError, match=r"2.06 epochs in all[\s\S]*max_epochs_by_source: \{law: 3\}"):
        plan_of({"token_budgets": {"law": 3300}, "max_epochs": 2}, tokens=100_000)


def test_epochs_count_over_the_stages_together() -> None:
    """Warm-up and main leave the annealing stage what the cap still allows, other sequence lengths included."""
    stages = [
        {"name": "warm-up", "steps": 20, "sequence_length": 8},
        {"name": "main", "steps": 500},
        {"name": "anneal", "steps": 100, "mixture": {"law": 1, "books": 1}},
    ]
    plan = plan_of({"mixture": WEIGHTS, "max_epochs": 3}, stages=stages)
    law = [share.why.get("law") for share in plan.shares]
    assert law == [None, "capped at 3 epochs", "left out: at its cap of 3 epochs"]
    short, main, _ = plan.stretches
    epochs = short.drawn_until(160)["law"] / short.samples["law"] + main.drawn_until(4160)["law"] / main.samples["law"]
    assert 3 - 2 / main.samples["law"] < epochs <= 3
    assert plan.stretches[2].drawn_until(4960) == {"books": main.drawn_until(4160)["books"] + 800}


def test_a_stage_may_leave_something_for_those_that_follow() -> None:
    """A lower cap until its end; another stage's is its own."""
    stages = [{"steps": 500, "max_epochs_by_source": {"law": 1}}, {"steps": 100}]
    plan = plan_of({"mixture": WEIGHTS, "max_epochs": 3}, stages=stages)
    assert [stretch.drawn_until(4000 + 800 * place)["law"] for place, stretch in enumerate(plan.stretches)] == [
        100,
        300,
    ]


def test_a_long_run_has_a_short_period() -> None:
    """The launch recipes' rare sources: 26 MB of law in a run of 10^12 tokens stay under the cap, at one in 65,536."""
    sizes = {"web": [10**11] * 9, "law": [6_600_000], "encyclopedia": [2_900_000_000], "english": [10**11] * 2}
    weights = {"web": 0.8, "law": 0.0002, "encyclopedia": 0.0498, "english": 0.15}
    rules = {"mixture": weights, "max_epochs": 4}
    plan = plan_of(rules, manifest_of(entries_of(sizes)), tokens=10**12)
    mixture = plan.stretches[0].mixture
    assert mixture is not None
    assert mixture.period <= LONGEST_PERIOD
    epochs = plan.epochs(plan.phases.total_steps or 0)
    assert max(epochs.values()) <= 4
    assert epochs["law"] > 2
    assert epochs["encyclopedia"] > 3.9


def test_a_run_may_be_longer_where_its_past_stays_as_it_was() -> None:
    """The mixtures that the data make are compared: with a cap that binds, another length is another past."""
    for epochs, same in ((100, True), (2, False)):
        rules = {"mixture": WEIGHTS, "max_epochs": epochs}
        old, new = recipe_of(rules, tokens=100_000), recipe_of(rules, tokens=120_000)
        phases = DataPlan.of_recipe(old, CORPUS).phases, DataPlan.of_recipe(new, CORPUS).phases
        assert same_past(old, new, 50, phases) == same
        assert same_past(old, new, 50)
    stage = {"steps": 5, "temperature": 2, "schedule": {"name": "linear"}}
    old = recipe_of({"max_epochs": 2, "mixture": WEIGHTS}, stages=[{"steps": 100}])
    new = recipe_of({"max_epochs": 2, "mixture": WEIGHTS}, stages=[{"steps": 100}, stage])
    assert same_past(old, new, 100, (DataPlan.of_recipe(old, CORPUS).phases, DataPlan.of_recipe(new, CORPUS).phases))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"max_epochs": 1}, r"at most 121,600 tokens here"),
        ({"token_budgets": {"laws": 10}}, "no such source in split 'train'"),
        ({"max_epochs_by_source": {"laws": 10}}, "data.max_epochs_by_source"),
        ({"mixture": {"laws": 10}, "max_epochs": 3}, "data.mixture"),
    ],
)
def test_what_cannot_be_is_refused(data: dict[str, Any], message: str) -> None:
    """With what may be."""
    with pytest.raises(UserError, match=message):
        plan_of(data, tokens=1_000_000)


def test_a_budget_is_told_where_it_stands() -> None:
    """In the first stage, too."""
    with pytest.raises(UserError, match=r"^stages\[0\]\.token_budgets: the budgets are more than the stage has"):
        plan_of({}, stages=[{"steps": 3, "token_budgets": {"law": 10_000}}])


def test_the_most_that_a_message_allows_is_allowed() -> None:
    """Also where the caps do not end with a step, where the batch grows, and where shares are 65,536ths."""
    plan_of({"max_epochs": 1}, tokens=121_600)
    sizes = {"web": [1_500_007], "books": [300_017], "law": [40_009], "letters": [7001]}
    rules = {"mixture": dict.fromkeys(sizes, 1), "max_epochs": 2.5}
    ramp = {"batch_ramp": {1: 8, 5000: 24}, "global_batch_size": 56}
    for growth, batches in ((1, {}), (1, ramp), (1000, {})):
        manifest = manifest_of(entries_of({name: [size * growth for size in own] for name, own in sizes.items()}))
        with pytest.raises(UserError, match="every source reaches its cap") as refused:
            plan_of(rules, manifest, tokens=10**12, **batches)
        found = re.search(r"at most ([\d,]+) tokens here", str(refused.value))
        assert found is not None
        most = int(found[1].replace(",", ""))
        plan = plan_of(rules, manifest, tokens=most, **batches)
        drawn = plan.stretches[0].drawn_until(most // 16)
        for name, samples in plan.stretches[0].samples.items():
            assert drawn[name] <= 2.5 * samples + 1
        all_that_is_there = 16 * sum(int(2.5 * samples) for samples in plan.stretches[0].samples.values())
        assert most > 0.9999 * all_that_is_there - 16 * 56
        with pytest.raises(UserError, match="every source reaches its cap"):
            plan_of(rules, manifest, tokens=all_that_is_there, **batches)


@pytest.mark.parametrize(
    ("data", "length", "message"),
    [
        ({"mixture": WEIGHTS, "temperature": 2}, {"steps": 3}, "mixture and temperature: both given"),
        ({"token_budgets": {"law": 10}}, {"stages": [{"steps": 3}]}, "data.token_budgets: found it beside stages"),
        ({"temperature": 1e-9}, {"steps": 3}, "greater than or equal to 0.1"),
        ({"max_epochs": float("inf")}, {"steps": 3}, "finite number"),
    ],
)
def test_what_contradicts_itself_is_refused(data: dict[str, Any], length: dict[str, Any], message: str) -> None:
    """By the recipe alone."""
    with pytest.raises(ValueError, match=message):
        recipe_of(data, **length)
