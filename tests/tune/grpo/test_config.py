"""What a recipe may ask of GRPO, and what it is told otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe

GRPO = ["objective.name=grpo", "objective.rewards=[{name: math}]", "objective.max_new_tokens=64"]


def recipe(*overrides: str) -> Recipe:
    """The test recipe with GRPO."""
    return read_recipe("test", [*GRPO, "data.sequence_length=64", *overrides])


def test_a_sample_is_a_prompt() -> None:
    """Not several prompts packed together, so that the batch size says how many there are."""
    assert recipe().data.packing == "none"
    assert recipe("data.packing=best_fit").data.packing == "best_fit"


def test_keys_of_trl_are_known() -> None:
    """Who comes from there is told what a key is called here."""
    with pytest.raises(UserError, match="group_size"):
        recipe("objective.num_generations=4")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["objective.max_new_tokens=65"], "together at most model.max_position_embeddings, which is 128"),
        (["objective.group_size=1"], "group_size"),
        (["objective.temperature=0"], "temperature"),
        (["objective.rewards=[]"], "rewards"),
        (["objective.rewards=[{name: math}, {name: math}]"], "found math twice"),
        (["objective.rewards=[{name: format, pattern: '('}]"], "no regular expression"),
        (["objective.rewards=[{name: function, function: mesure}]"], "function"),
        (["objective.beta=0.1"], "objective.beta: found 0.1 without model.from"),
        (["objective.beta=0.1", "branch.checkpoint=runs/x"], "objective.beta: found 0.1 with branch"),
        (["faults.spike={action: rollback}"], "faults.spike.threshold: found 12; must be null"),
        (["data.too_long=truncate"], "must be drop"),
        (["parallel.tensor=2", "parallel.zero_stage=1"], "parallel.tensor: found 2"),
        (["parallel.sequence=2"], "parallel.sequence: found 2"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str) -> None:
    """With the key, what was found and what is wanted."""
    with pytest.raises(UserError) as error:
        recipe(*overrides)
    assert said in str(error.value)


def test_what_is_not_finite_may_be_a_spike() -> None:
    """A threshold of null looks for nothing else."""
    assert recipe("faults.spike={action: rollback, threshold: null}").faults.spike is not None


def identity(*overrides: str) -> dict[str, Any]:
    """What makes the run."""
    return recipe(*overrides).identity("data")


def test_what_is_learned_from_belongs_to_the_identity() -> None:
    """Rewards and sampling do, how much memory vLLM takes does not."""
    assert identity("objective.temperature=0.9") != identity()
    assert identity("objective.rewards=[{name: math, weight: 2}]") != identity()
    assert identity("objective.vllm_gpu_memory_utilization=0.5") == identity()
