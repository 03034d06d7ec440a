"""Our own engine: completions that depend on nothing but prompt, seed and weights, and their log-probabilities."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clapas.engine.ranks import Ranks
from clapas.recipe.recipe import read_recipe
from clapas.train.heartbeat import Heart
from clapas.train.train import initial_model
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.engines.own import OwnEngine
from clapas.tune.grpo.policy import scored
from clapas.tune.grpo.rollouts import Rollout, collate_rollouts

PROMPTS = ([5, 6, 7, 8], [9], [300, 301])
TEMPERATURE = 0.8


@pytest.fixture(scope="module")
def engine() -> Any:
    """An engine of one rank with a model as it begins. ends: half of all tokens, so that most completions end."""
    recipe = read_recipe("test")
    model = initial_model(recipe)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() == 2 else 1)  # far from uniform
    run: Any = SimpleNamespace(
        recipe=recipe,
        ranks=Ranks(0, 1, torch.device("cpu")),
        heart=Heart(),
        engine=SimpleNamespace(deepspeed=SimpleNamespace(module=model)),
    )
    objective = Grpo.model_validate(
        {"name": "grpo", "rewards": [{"name": "length"}], "max_new_tokens": 9, "temperature": TEMPERATURE}
    )
    return OwnEngine(run, objective, ends=range(0, 2048, 5), vocabulary=2048), model


def test_a_completion_does_not_depend_on_its_neighbours(engine: Any) -> None:
    """Alone or beside others, cut or ended early, it is the same."""
    own, _ = engine
    together = own.generate(PROMPTS, [1, 2, 3])
    for prompt, seed, wanted in zip(PROMPTS, (1, 2, 3), together, strict=True):
        (alone,) = own.generate([prompt], [seed])
        assert alone.tokens == wanted.tokens
        assert alone.log_probabilities == pytest.approx(wanted.log_probabilities, abs=1e-5)
    assert own.generate(PROMPTS, [4, 5, 6]) != together


def test_it_ends_at_an_end_or_at_the_limit(engine: Any) -> None:
    """The token that ends it belongs to it, and nothing that follows."""
    own, _ = engine
    completions = own.generate([PROMPTS[0]] * 40, list(range(40)))
    assert {completion.tokens[-1] % 5 == 0 for completion in completions} == {True, False}
    for completion in completions:
        assert all(token % 5 for token in completion.tokens[:-1])
        assert len(completion.tokens) == 9 or completion.tokens[-1] % 5 == 0
        assert len(completion.log_probabilities) == len(completion.tokens)


def test_log_probabilities_of_sampling_are_those_of_training(engine: Any) -> None:
    """From the cache, token by token, and from all at once."""
    own, model = engine
    completions = own.generate(PROMPTS, [1, 2, 3])
    rollouts = [Rollout(list(p), c, 0.0, 0) for p, c in zip(PROMPTS, completions, strict=True)]
    batch = collate_rollouts(rollouts, 0, units_are_tokens=True)
    log_p_BS, entropy, _ = scored(model, batch, TEMPERATURE)
    torch.testing.assert_close(log_p_BS.detach(), batch.sampled_BS, rtol=0, atol=1e-4)
    logits_BSV = model(batch.tokens).float() / TEMPERATURE
    log_p_BSV = logits_BSV.log_softmax(-1)
    wanted = -(log_p_BSV.exp() * log_p_BSV).sum(-1)[batch.targets >= 0].sum()
    torch.testing.assert_close(entropy, wanted, rtol=1e-5, atol=1e-4)
