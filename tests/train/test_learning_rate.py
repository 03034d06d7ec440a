"""The learning rate over stages, and which runs may go on as others."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.recipe.recipe import Recipe
from clapas.train.learning_rate import learning_rate, same_past
from small_model import MODEL

CONSTANT = {"name": "constant"}
COSINE = {"name": "cosine", "min_lr_ratio": 0.0}
WSD = {"name": "wsd", "decay_ratio": 0.2, "min_lr_ratio": 0.0}
ANNEAL = {"steps": 2, "schedule": {"name": "linear", "min_lr_ratio": 0.0}}


def recipe_of(schedule: dict[str, Any], stages: list[dict[str, Any]] | None = None, **train: Any) -> Recipe:
    """A recipe at a learning rate of 1, with batches of 4 samples of 16 tokens."""
    return Recipe.model_validate(
        {
            "name": "small",
            "model": MODEL,
            "data": {"path": "data", "sequence_length": 16},
            "optimizer": {"lr": 1.0},
            "schedule": schedule,
            "train": {"global_batch_size": 4, **train},
            "stages": stages,
        }
    )


def rates(recipe: Recipe) -> list[float]:
    """The learning rate of each step."""
    return [learning_rate(recipe, step) for step in range(1, recipe.total_steps + 1)]


def test_stages_without_a_schedule_share_the_recipes() -> None:
    """Two of them have the rates of one run as long as both; a stage with its own between them changes nothing."""
    whole = rates(recipe_of(COSINE, steps=10))
    assert rates(recipe_of(COSINE, [{"steps": 4}, {"steps": 6}])) == whole
    between = rates(recipe_of(COSINE, [{"steps": 4}, ANNEAL, {"steps": 6}]))
    assert between[:4] + between[6:] == whole
    assert between[4:6] == [0.5, 0.0]


def test_a_stage_with_a_schedule_warms_up_again() -> None:
    """Its schedule begins at its first step and ends at its last; its lr multiplies."""
    rewarmed = {"steps": 4, "lr": 8.0, "schedule": {"name": "linear", "warmup_steps": 2, "min_lr_ratio": 0.0}}
    assert rates(recipe_of(CONSTANT, [{"steps": 3}, rewarmed]))[3:] == [4.0, 8.0, 4.0, 0.0]


def test_a_stage_with_an_lr_alone_runs_the_recipes_schedule_anew() -> None:
    """Over its own steps, at its own rate."""
    found = rates(recipe_of({**COSINE, "warmup_steps": 1}, [{"steps": 4}, {"steps": 4, "lr": 2.0}]))
    assert found[4:] == [2 * rate for rate in found[:4]]


def test_a_warmup_in_tokens_is_rounded_up_to_a_step() -> None:
    """200 tokens in steps of 64 are 4; of ramped steps, 32 tokens twice and then 64, they are 5."""
    schedule = {"name": "constant", "warmup_tokens": 200}
    assert rates(recipe_of(schedule, steps=6)) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rates(recipe_of(schedule, steps=6, batch_ramp={2: 2})) == [0.2, 0.4, 0.6, 0.8, 1, 1]


@pytest.mark.parametrize("schedule", [CONSTANT, COSINE, WSD], ids=["constant", "cosine", "wsd"])
def test_a_stage_of_its_own_schedule_may_be_added_to_any_run(schedule: dict[str, Any]) -> None:
    """Also to a finished one, and whether that said `train.steps` or `stages`: nothing before it changes."""
    longer = recipe_of(schedule, [{"steps": 10}, ANNEAL])
    assert same_past(recipe_of(schedule, steps=10), longer, done=10)
    assert same_past(recipe_of(schedule, [{"steps": 4}, {"steps": 6}]), longer, done=10)


def test_a_stage_that_goes_on_with_the_schedule_needs_one_that_does_not_know_the_end() -> None:
    """Constant always, WSD until its decay begins, cosine never."""
    stages = [{"steps": 10}, {"steps": 10}]
    assert same_past(recipe_of(CONSTANT, steps=10), recipe_of(CONSTANT, stages), done=10)
    assert same_past(recipe_of(WSD, steps=10), recipe_of(WSD, stages), done=8)
    assert not same_past(recipe_of(WSD, steps=10), recipe_of(WSD, stages), done=9)
    assert not same_past(recipe_of(COSINE, steps=10), recipe_of(COSINE, stages), done=2)


def test_steps_done_may_not_have_read_otherwise() -> None:
    """A later change of batch, length or mixture is another future; an earlier one is another past."""
    old = recipe_of(CONSTANT, steps=10)
    for change in ({"sequence_length": 32}, {"global_batch_size": 8}, {"mixture": {"law": 1.0}}, {"lr": 2.0}):
        new = recipe_of(CONSTANT, [{"steps": 5}, {"steps": 5, **change}])
        assert same_past(old, new, done=5), change
        assert not same_past(old, new, done=6), change
    ramped = recipe_of(CONSTANT, steps=10, batch_ramp={5: 2})
    assert not same_past(old, ramped, done=1)
    assert same_past(ramped, recipe_of(CONSTANT, steps=10, batch_ramp={5: 2, 8: 3}), done=5)


def test_a_run_does_not_go_on_as_a_shorter_one() -> None:
    """What was done is not undone."""
    assert not same_past(recipe_of(CONSTANT, steps=10), recipe_of(CONSTANT, steps=8), done=9)
