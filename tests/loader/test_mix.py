"""What `data mix` tells is what the plan reads, by whatever a source is summed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from clapas.loader.mix import mix_of_folder, mix_of_recipe, mix_table, warnings
from clapas.loader.plan import DataPlan
from clapas.recipe.recipe import Recipe
from clapas_data.manifest import Manifest, SourceRecord
from corpora import entries_of, manifest_of
from small_model import MODEL

STAGES = [
    {"name": "main", "steps": 60},
    {"name": "anneal", "steps": 40, "mixture": {"law": 2, "books": 1}, "sequence_length": 8},
]


def corpus() -> Manifest:
    """Three sources, of two domains and licences."""
    manifest = manifest_of(entries_of({"web": [9000], "law": [801], "books": [3000]}))
    facts = {"web": ("web", "CC0-1.0"), "law": ("law", "etalab-2.0"), "books": (None, "CC0-1.0")}
    records = {name: SourceRecord(licence=licence, domain=domain) for name, (domain, licence) in facts.items()}
    return manifest.model_copy(update={"sources": records})


def recipe_of(data: dict[str, Any], stages: Any = STAGES) -> Recipe:
    """A recipe of batches of 8 samples of 16 tokens."""
    values = {
        "name": "small",
        "model": MODEL,
        "data": {"path": "data", "sequence_length": 16, **data},
        "train": {"global_batch_size": 8},
        "schedule": {"name": "constant"},
        "stages": stages,
    }
    return Recipe.model_validate(values)


@pytest.mark.parametrize("data", [{"mixture": {"web": 6, "law": 3, "books": 1}, "max_epochs": 3}, {"temperature": 3}])
def test_the_tokens_are_those_of_the_samples(data: dict[str, Any]) -> None:
    """Counted one by one, for each stage; epochs go on from stage to stage, shares sum to one."""
    recipe, manifest = recipe_of(data), corpus()
    plan = DataPlan.of_recipe(recipe, manifest)
    mix = mix_of_recipe(recipe, manifest)
    for stage, steps, length in ((mix["stages"][0], range(1, 61), 16), (mix["stages"][1], range(61, 101), 8)):
        indices = [index for step in steps for index in plan.interval(step)]
        read = Counter(plan.sources[plan.source_id(plan.spans(index))] for index in indices)
        assert {row["source"]: row["tokens"] for row in stage["sources"] if row["tokens"]} == {
            name: count * length for name, count in read.items()
        }
        assert sum(row["share"] for row in stage["sources"]) == pytest.approx(1)
        assert sum(row["asked"] for row in stage["sources"]) == pytest.approx(1)
        assert stage["tokens"] == len(indices) * length
        for sums in stage["by"].values():
            assert sum(sums.values()) == stage["tokens"]
    whole = {row["source"]: row for row in mix["all"]["sources"]}
    last = {row["source"]: row["epochs"] for row in mix["stages"][1]["sources"]}
    assert all(whole[name]["epochs"] == epochs for name, epochs in last.items())
    assert set(mix["all"]["by"]["domain"]) == {"web", "law", "not recorded"}
    assert set(mix["all"]["by"]["licence"]) == {"CC0-1.0", "etalab-2.0"}


def test_what_was_capped_and_why_is_told() -> None:
    """In the values and in the table; a run that reads a source too often is warned of."""
    recipe, manifest = recipe_of({"mixture": {"web": 6, "law": 3, "books": 1}, "max_epochs": 2.5}), corpus()
    table = mix_table(mix_of_recipe(recipe, manifest))
    assert "law: capped at 2.5 epochs" in table
    assert "law: left out: at its cap of 2.5 epochs" in table
    assert "by domain: " in table
    assert "warning" not in table
    worn = recipe_of({"mixture": {"web": 6, "law": 3, "books": 1}})
    (warning,) = warnings(DataPlan.of_recipe(worn, manifest))
    assert "law 5" in warning
    assert warning in mix_table(mix_of_recipe(worn, manifest))


def test_one_stream_and_a_folder() -> None:
    """Without weights each source is read as large as it is, and so are the shares of a folder."""
    manifest = corpus()
    mix = mix_of_recipe(recipe_of({}, [{"steps": 50}]), manifest)
    held = mix_of_folder(manifest)
    shares = {row["source"]: row["share"] for row in held["data"]["sources"]}
    assert {row["source"]: row["share"] for row in mix["all"]["sources"]} == pytest.approx(shares)
    assert len({row["epochs"] for row in mix["all"]["sources"]}) == 1
    assert "12,801 tokens" in mix_table(held)
