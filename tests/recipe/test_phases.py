"""The closed form of stages and batch ramps: what a step reads, found without walking there."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.recipe.phases import Phases
from clapas.recipe.recipe import Recipe
from small_model import MODEL


def recipe_of(**sections: Any) -> Recipe:
    """A recipe of batches of 8 samples of 16 tokens, with more sections, or more keys in these."""
    values: dict[str, Any] = {
        "name": "small",
        "model": MODEL,
        "data": {"path": "data", "sequence_length": 16},
        "train": {"global_batch_size": 8},
        "schedule": {"name": "constant"},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return Recipe.model_validate(values)


ramps = st.dictionaries(st.integers(1, 30), st.sampled_from([2, 4, 8, 16]), min_size=1, max_size=3)
stages = st.fixed_dictionaries(
    {},
    optional={
        "sequence_length": st.sampled_from([16, 32]),
        "global_batch_size": st.sampled_from([4, 12]),
        "lr": st.just(1e-3),
    },
)
lengths = st.one_of(st.integers(1, 20).map(lambda n: {"steps": n}), st.integers(1, 9000).map(lambda n: {"tokens": n}))


@settings(deadline=None)
@given(ramp=st.none() | ramps, parts=st.lists(st.tuples(lengths, stages), min_size=1, max_size=4))
def test_every_step_reads_what_walking_there_finds(
    ramp: dict[int, int] | None, parts: list[tuple[dict[str, int], dict[str, Any]]]
) -> None:
    """Intervals follow one another without gap or overlap; samples, tokens and length are those of the definition."""
    recipe = recipe_of(train={"batch_ramp": ramp}, stages=[{**length, **stage} for length, stage in parts])
    step = samples = tokens = 0
    for number, (length, stage) in enumerate(parts):
        done = 0
        while done < next(iter(length.values())):
            step += 1
            ramped = next((batch for until, batch in sorted((ramp or {}).items()) if step <= until), 8)
            batch = stage.get("global_batch_size", ramped)
            size = stage.get("sequence_length", 16)
            phase = recipe.phases.at(step)
            assert (phase.stage, phase.global_batch_size, phase.sequence_length) == (number, batch, size)
            assert recipe.phases.interval(step) == range(samples, samples + batch)
            samples, tokens = samples + batch, tokens + batch * size
            assert recipe.phases.samples_after(step) == samples
            assert recipe.phases.tokens_after(step) == tokens
            done += 1 if "steps" in length else batch * size
    assert recipe.total_steps == step
    assert recipe.phases.tokens_after(0) == recipe.phases.samples_after(0) == 0


@given(ramp=ramps, first=st.integers(1, 40), tokens=st.integers(1, 5000))
def test_steps_for_tokens_are_the_fewest_that_read_them(ramp: dict[int, int], first: int, tokens: int) -> None:
    """One step less would read too few, also where the batch grows meanwhile."""
    phases = recipe_of(train={"batch_ramp": ramp, "steps": 100}).phases
    steps = phases.steps_for_tokens(first, tokens)
    before = phases.tokens_after(first - 1)
    assert phases.tokens_after(first - 1 + steps) - before >= tokens > phases.tokens_after(first + steps - 2) - before


def test_a_run_without_stages_is_one_phase() -> None:
    """A length in tokens is rounded up to a step."""
    recipe = recipe_of(train={"tokens": 1000})
    assert len(recipe.phases) == 1
    assert recipe.total_steps == math.ceil(1000 / 128)
    assert len(Phases.constant(8, 16)) == 1
    assert Phases.constant(8, 16).interval(10**9) == range(8 * 10**9 - 8, 8 * 10**9)


def test_steps_count_from_one() -> None:
    """Step 0 is a mistake, not the end of the run."""
    with pytest.raises(IndexError):
        Phases.constant(8, 16).at(0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, "train: found neither steps nor tokens; must have one of the two, or `stages`"),
        ({"train": {"steps": 3}, "stages": [{"steps": 3}]}, "train.steps: found it beside stages"),
        ({"stages": [{"steps": 3}, {"name": "long"}]}, "steps and tokens: neither given"),
        ({"stages": [{"steps": 3, "tokens": 9}]}, "steps and tokens: both given"),
        ({"stages": []}, "at least 1 item"),
        ({"stages": [{"steps": 3, "sequence_length": 65}]}, r"stages\[0\].sequence_length: found 65; at most"),
        (
            {"stages": [{"steps": 3}, {"steps": 3, "global_batch_size": 9, "micro_batch_size": 2}]},
            r"stages\[1\].micro_batch_size: found 2 .*global_batch_size, which is 9",
        ),
        ({"train": {"steps": 9, "batch_ramp": {2: 3}, "micro_batch_size": 2}}, "2 does not divide batch_ramp's 3"),
        (
            {"stages": [{"steps": 9}, {"steps": 3, "schedule": {"name": "constant", "warmup_steps": 3}}]},
            r"stages\[1\].schedule.warmup_steps: found 3; must be under its 3 steps",
        ),
    ],
)
def test_what_does_not_fit_is_refused(sections: dict[str, Any], message: str) -> None:
    """Each by a message that names the key."""
    with pytest.raises(ValueError, match=message):
        recipe_of(**sections)


def test_a_copy_has_phases_of_its_own() -> None:
    """Exchanging a section of a recipe whose phases were asked for does not leave the old ones behind."""
    recipe = recipe_of(train={"steps": 3})
    assert recipe.total_steps == 3
    copy = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 5})})
    assert (copy.total_steps, recipe.total_steps, copy.courses[0].total_steps) == (5, 3, 5)
